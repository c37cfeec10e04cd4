"""Detectors of several passes over an image, of :class:`~mmdet_runtime.stage.Stage` objects: packing and tiles, without torch.

Naming: B images, R regions of one image, n detections of one image.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ConfigError
from .resizing import check_tiles, tile_windows
from .second_look import SecondLook
from .stage import Mosaic, Stage
from .suppression import Detections, merge_views

MOSAICS = ('exact', 'rounded', 'direct')
# Tiles that are cut out at once, in batches of the stage: enough to fill its batches, however large the image is.
_BATCHES = 4


@dataclasses.dataclass(frozen=True)
class UFPMPTrace:
    """Intermediate and final results of :class:`UFPMPDet` for one image.

    Attributes:
        coarse: detections of the first pass, in pixels of the image.
        mosaic: of the regions that were packed; None without any, or where none has a whole pixel.
        fine: detections of the second pass, in pixels of the mosaic; None without a mosaic.
        merged: the final detections, in pixels of the image.
    """

    coarse: Detections
    mosaic: Mosaic | None
    fine: Detections | None
    merged: Detections


class UFPMPDet(SecondLook):
    """A coarse stage finds the foreground, unified foreground packing makes a mosaic of it, a fine stage detects on the mosaic.

    Args:
        coarse, fine: the stages.
        mosaic: how the fine stage gets its pictures. ``'exact'``: drawn in float32 and then resized, as the toolbox does; ``'rounded'``: the same
            in 8 bits, which differs by less than 1.5 grey levels; ``'direct'``: each tile resized once from the image to its place in the input,
            in the dtype of the image, which is the fastest, sharper inside the tiles and at their edges, and needs a single scale. See also
            :func:`default_mosaic`.
        **settings: all other arguments of :class:`mmdet.models.detectors.UFPMPDet`, which describes them, and ``fine_labels``, the fine stage's
            label of each coarse one, -1 for none.

    Raises:
        ConfigError: an argument out of range.
    """

    detections = staticmethod(Detections)
    merge_views = staticmethod(merge_views)

    def __init__(self, coarse: Stage, fine: Stage, *, mosaic: str = 'exact', **settings: Any):
        try:
            self.set_looks(**settings)
        except TypeError as error:
            raise ConfigError(f'are not those of UFPMPDet: {error}', field='arguments') from error
        if mosaic not in MOSAICS:
            raise ConfigError(f'must be one of {MOSAICS}', field='mosaic', received=mosaic)
        if mosaic == 'direct' and not _takes_direct(fine):
            message = "must be 'exact' or 'rounded' where the fine stage has several scales or changes the aspect ratio"
            raise ConfigError(message, field='mosaic', received=mosaic)
        self.coarse, self.fine, self.mosaic = coarse, fine, mosaic

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detections of (h, w, 3) BGR images, in their own pixels."""
        return [steps.merged for steps in self.trace(images)]

    def trace(self, images: Sequence[np.ndarray]) -> list[UFPMPTrace]:
        """Detections of (h, w, 3) BGR images, with all intermediate results."""
        coarse = self.coarse.detect(images)
        looks, mosaics = self.look(coarse, images)
        drawn = [i for i, mosaic in enumerate(mosaics) if mosaic is not None]
        fine = dict(zip(drawn, self.fine.detect([self.draw(mosaics[i]) for i in drawn])))
        return [
            UFPMPTrace(found, mosaics[i], fine.get(i), self.merge(found, fine.get(i), mosaics[i], looks[i]))
            for i, found in enumerate(coarse)
        ]

    def look(self, coarse: list[Detections], images: Sequence[np.ndarray]) -> tuple[list[bool], list[Mosaic | None]]:
        """Between the passes: whether each image gets a second look, and its mosaic."""
        sizes_wh = [(image.shape[1], image.shape[0]) for image in images]
        looks = [self.looks_again(*each) for each in zip(coarse, sizes_wh)]
        mosaics: list[Mosaic | None] = []
        for image, (regions, width, height) in zip(images, self.pack(coarse, sizes_wh, looks)):
            shape = (math.ceil(height), math.ceil(width), 3)
            # A region thinner than a pixel has no tile: a mosaic may have no pixels even where there are regions.
            mosaics.append(Mosaic(image, regions, shape) if min(shape) > 0 else None)
        return looks, mosaics

    def draw(self, mosaic: Any) -> Any:
        """A mosaic as the fine stage gets it."""
        return mosaic if self.mosaic == 'direct' else mosaic.pixels(np.float32 if self.mosaic == 'exact' else None)

    def to_image(self, bboxes: np.ndarray, regions: Mosaic) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`~mmdet_runtime.second_look.SecondLook.to_image`."""
        if self.mosaic == 'direct':
            size_hw = self.fine.input_size_hw(regions.shape[:2], self.fine.scales[0])
            return regions.to_image(bboxes, size_hw, self.min_overlap)
        return super().to_image(bboxes, regions.regions)


def default_mosaic(fine: Stage, precision: str) -> str:
    """How mosaics are made unless it is said: exactly in fp32, where all boxes are those of the toolbox; in lower precisions, whose boxes differ by more
    than those of a mosaic that is drawn otherwise, as fast as the stage allows, at the same AP."""
    if precision == 'fp32':
        return 'exact'
    return 'direct' if _takes_direct(fine) else 'rounded'


def _takes_direct(fine: Stage) -> bool:
    return len(fine.scales) == 1 and fine.keep_ratio


class SlicedDet:
    """One stage over overlapping tiles of an image, and another over the whole of it, merged by NMS.

    Args:
        stage: for the tiles.
        whole: for the whole image; None does not look at it.
        tile_wh: tile size in pixels of the image; None makes the whole image the only tile.
        overlap: share of a tile that the next one repeats.
        nms: config of the NMS that merges tiles and whole image; IoU 0.6 by default.
        max_per_img: largest number of detections to keep; a negative number keeps all.

    Raises:
        ConfigError: a tile without pixels, an overlap outside [0, 1).
    """

    def __init__(
        self,
        stage: Stage,
        whole: Stage | None = None,
        *,
        tile_wh: Sequence[int] | None = (640, 640),
        overlap: float = 0.2,
        nms: Mapping | None = None,
        max_per_img: int = 500,
    ):
        self.stage, self.whole, self.overlap = stage, whole, overlap
        self.tile_wh = check_tiles(tile_wh, overlap)
        self.nms, self.max_per_img = nms or dict(type='nms', iou_threshold=0.6), max_per_img

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detections of (h, w, 3) BGR images, in their own pixels."""
        views: list[list[Detections]] = [[] for _ in images]
        for i, found in self._detect_tiles(self._tiles(images)):
            views[i].append(found)
        if self.whole is not None:
            for view, found in zip(views, self.whole.detect(images)):
                view.append(found)
        return [merge_views(results, self.nms, self.max_per_img, self.stage.end_to_end) for results in views]

    def _tiles(self, images: Sequence[np.ndarray]) -> Iterator[tuple[int, int, int, np.ndarray]]:
        """Image number, left and upper edge, and pixels of every tile."""
        for i, image in enumerate(images):
            for x, y, (h, w) in tile_windows((image.shape[1], image.shape[0]), self.tile_wh, self.overlap):
                yield i, x, y, image[y : y + h, x : x + w]

    def _detect_tiles(self, tiles: Iterable[tuple[int, int, int, np.ndarray]]) -> Iterator[tuple[int, Detections]]:
        waiting = iter(tiles)
        while chunk := list(itertools.islice(waiting, _BATCHES * self.stage.batch_size)):
            for (i, x, y, _), found in zip(chunk, self.stage.detect([tile for *_, tile in chunk])):
                offset = np.array([x, y, x, y], found.bboxes.dtype)
                yield i, dataclasses.replace(found, bboxes=found.bboxes + offset)
