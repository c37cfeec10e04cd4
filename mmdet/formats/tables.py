"""Boxes of many images as columns: what the readers give and the metrics take.

Letters: N boxes, I images, K classes.
"""

from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError

IGNORED_REGION = -1  # the label of VisDrone's ignored regions, which is the category of the files less 1


@dataclass
class BoxTable:
    """Boxes of many images as columns; the part that ground truth and detections share.

    Attributes:
        image: (N,) int64, index of the image, 0..I-1. Ties in score are broken by this order.
        label: (N,) int64, class index, 0..K-1.
        bbox: (N, 4) float64, left, top, width, height in pixels of the original image.
    """

    image: np.ndarray
    label: np.ndarray
    bbox: np.ndarray

    def __post_init__(self):
        self.image = np.asarray(self.image, dtype=np.int64).reshape(-1)
        self.label = np.asarray(self.label, dtype=np.int64).reshape(-1)
        self.bbox = np.asarray(self.bbox, dtype=np.float64).reshape(-1, 4)
        self._check_lengths('label', 'bbox')

    def _check_lengths(self, *names: str) -> None:
        for name in names:
            if len(getattr(self, name)) != len(self.image):
                raise DataError(
                    f'must have {len(self.image)} rows, like image', field=name, received=len(getattr(self, name))
                )

    def __len__(self) -> int:
        return len(self.image)


@dataclass
class GroundTruth(BoxTable):
    """Ground-truth boxes: the columns of :class:`BoxTable` and

    Attributes:
        area: (N,) float64, decides the area range; width * height when not given.
        crowd: (N,) bool; a crowd box is never missed, takes any number of detections and counts for none.
    """

    area: np.ndarray | None = None
    crowd: np.ndarray | None = None

    def __post_init__(self):
        super().__post_init__()
        area = self.bbox[:, 2] * self.bbox[:, 3] if self.area is None else self.area
        crowd = np.zeros(len(self), dtype=bool) if self.crowd is None else self.crowd
        self.area = np.asarray(area, dtype=np.float64).reshape(-1)
        self.crowd = np.asarray(crowd, dtype=bool).reshape(-1)
        self._check_lengths('area', 'crowd')


@dataclass
class Detections(BoxTable):
    """Predicted boxes: the columns of :class:`BoxTable` and

    Attributes:
        score: (N,) float64. Any order; equal scores keep the order of the rows.
    """

    score: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self):
        super().__post_init__()
        self.score = np.asarray(self.score, dtype=np.float64).reshape(-1)
        self._check_lengths('score')


@dataclass
class VisDroneTruth(BoxTable):
    """Annotation rows: the columns of :class:`BoxTable` and

    Attributes:
        label: (N,) int64, category - 1: :data:`IGNORED_REGION`, classes 0..K-1, anything above is never evaluated.
        counted: (N,) bool, the score column; an object that does not count is neither found nor missed. All count when
            not given.
    """

    counted: np.ndarray | None = None

    def __post_init__(self):
        super().__post_init__()
        counted = np.ones(len(self), dtype=bool) if self.counted is None else self.counted
        self.counted = np.asarray(counted, dtype=bool).reshape(-1)
        self._check_lengths('counted')
