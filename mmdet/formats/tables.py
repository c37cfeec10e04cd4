"""Boxes of many images as columns: what the readers give and the metrics take.

Letters: N boxes, I images, K classes.
"""

import copy
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError

IGNORED_REGION = -1  # the label of VisDrone's ignored regions: labels are the categories of the files less 1
Table = TypeVar('Table', bound='BoxTable')


class BoxTable:
    """Boxes of many images as columns; the part that ground truth and detections share.

    Attributes:
        image: (N,) int64, index of the image, 0..I-1. Of equal scores, the lower index comes first.
        label: (N,) int64, class index, 0..K-1.
        bbox: (N, 4) float64, left, top, width, height in pixels of the original image.

    Raises:
        DataError: the columns differ in length.
    """

    _FINITE: tuple[str, ...] = ('bbox',)

    def __init__(self, image: ArrayLike, label: ArrayLike, bbox: ArrayLike):
        self.image = np.asarray(image, dtype=np.int64).reshape(-1)
        self.label = self._column('label', label, np.int64)
        self.bbox = self._column('bbox', bbox, np.float64, -1, 4)

    def _column(self, name: str, values: ArrayLike, dtype: type, *shape: int) -> np.ndarray:
        column: np.ndarray = np.asarray(values, dtype=dtype).reshape(shape or -1)
        if len(column) != len(self.image):
            raise DataError(f'must have {len(self.image)} rows, like image', field=name, received=len(column))
        return column

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self: Table, rows: np.ndarray) -> Table:
        """The rows that a mask (N,) or indices select, as a table of the same kind."""
        selected = copy.copy(self)
        vars(selected).update({name: column[rows] for name, column in vars(self).items()})
        return selected

    def check(self, name: str, num_images: int, num_classes: int | None = None) -> None:
        """Refuse indices out of range and numbers that are not finite.

        Args:
            name: what an error calls the table.
            num_images: I.
            num_classes: K; None leaves the labels unchecked.

        Raises:
            DataError: the error names the row and the column.
        """
        for column, size in (('image', num_images), ('label', num_classes)):
            if size is not None:
                values = getattr(self, column)
                self._refuse((values < 0) | (values >= size), f'must be in 0..{size - 1}', name, column)
        for column in self._FINITE:
            self._refuse(~np.isfinite(getattr(self, column)), 'must be finite', name, column)

    def _refuse(self, wrong: np.ndarray, message: str, name: str, column: str) -> None:
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            received = getattr(self, column)[row].tolist()
            raise DataError(message, file=name, record=f'row {row}', field=column, received=received)


class GroundTruth(BoxTable):
    """Ground-truth boxes, with two columns beside those of :class:`BoxTable`.

    Attributes:
        area: (N,) float64, decides the area range; width * height when not given.
        crowd: (N,) bool; a crowd box is never missed, and any number of detections may match it without counting for or against.
    """

    _FINITE = ('bbox', 'area')

    def __init__(
        self,
        image: ArrayLike,
        label: ArrayLike,
        bbox: ArrayLike,
        area: ArrayLike | None = None,
        crowd: ArrayLike | None = None,
    ):
        super().__init__(image, label, bbox)
        self.area = self._column('area', self.bbox[:, 2] * self.bbox[:, 3] if area is None else area, np.float64)
        self.crowd = self._column('crowd', np.zeros(len(self)) if crowd is None else crowd, np.bool_)


class Detections(BoxTable):
    """Predicted boxes, with one column beside those of :class:`BoxTable`.

    Attributes:
        score: (N,) float64. Any order; equal scores keep the order of the rows.
    """

    _FINITE = ('bbox', 'score')

    def __init__(self, image: ArrayLike, label: ArrayLike, bbox: ArrayLike, score: ArrayLike = ()):
        super().__init__(image, label, bbox)
        self.score = self._column('score', score, np.float64)


class VisDroneTruth(BoxTable):
    """Annotation rows of VisDrone, with one column beside those of :class:`BoxTable`.

    Attributes:
        label: (N,) int64, category - 1: :data:`IGNORED_REGION`, classes 0..K-1, anything above is never evaluated.
        counted: (N,) bool, whether the score column is not 0; an object that does not count is neither found nor missed. All count
            when not given.
    """

    def __init__(self, image: ArrayLike, label: ArrayLike, bbox: ArrayLike, counted: ArrayLike | None = None):
        super().__init__(image, label, bbox)
        self.counted = self._column('counted', np.ones(len(self)) if counted is None else counted, np.bool_)
