"""Detection on uniform overlapping tiles, the baseline of every method for small objects (SAHI, ICIP 2022)."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.post_processing import merge_views
from mmdet.errors import ConfigError
from mmdet.formats.windows import TiledImage
from mmdet.registry import MODELS
from mmdet_runtime.resizing import check_tiles, tile_windows
from mmdet_runtime.resizing import slice_starts as slice_starts  # an earlier version had it here

from .base import BaseDetector
from .composite import CompositeDetector
from .stage import DetectionStage

# Tiles that are in memory at once, in batches of the stage: enough to fill its batches, however large the image is.
_BATCHES = 4


@MODELS.register_module()
class SlicedDet(CompositeDetector):
    """One detector over overlapping tiles of an image, and over the whole of it, merged by NMS; any detector that can be a :class:`DetectionStage`.

    An image that is too large for the memory is read by tiles, see :meth:`detect_tiled`.

    Args:
        stage: arguments of :class:`DetectionStage`; its ``scale`` is what a tile is resized to.
        tile_wh: tile size in pixels of the image; None makes the whole image the only tile.
        overlap: share of a tile that the next one repeats.
        whole: arguments of a :class:`DetectionStage` without ``detector``, to detect on the whole image as well; None does not.
        nms: config of the NMS that merges tiles and whole image; IoU 0.6 by default.
        max_per_img: largest number of detections to keep; a negative number keeps all.
        data_preprocessor, init_cfg: configs of the preprocessor of full-resolution images and of the initialisation.

    Raises:
        ConfigError: a tile without pixels, an overlap outside [0, 1).
    """

    only_detector = 'stage.detector.'

    def __init__(
        self,
        stage: dict,
        tile_wh: tuple[int, int] | None = (640, 640),
        overlap: float = 0.2,
        whole: dict | None = None,
        nms: dict | None = None,
        max_per_img: int = 500,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        self.tile_wh, self.overlap = check_tiles(tile_wh, overlap), overlap
        self.stage = DetectionStage(**stage)
        self.whole = None if whole is None else dict(whole)
        # The same network with other settings, in a plain list so that its parameters are registered and saved only once.
        settings = [] if whole is None else [{**stage, **whole, 'detector': self.stage.detector}]
        self._whole_stages = [DetectionStage(**options) for options in settings]
        self._tiles_at_once = _BATCHES * self.stage.batch_size
        self.nms = nms or dict(type='nms', iou_threshold=0.6)
        self.max_per_img = max_per_img

    @property
    def num_classes(self) -> int:
        """Classes of the detector."""
        return self.stage.num_classes

    def detect(self, images: list[Tensor]) -> list[InstanceData]:
        """Detections of (3, h, w) uint8 images, in their own pixels."""
        views: list[list[InstanceData]] = [[] for _ in images]
        tiles = [
            (i, x, y, tile_hw)
            for i, image in enumerate(images)
            for x, y, tile_hw in tile_windows((image.shape[2], image.shape[1]), self.tile_wh, self.overlap)
        ]
        self.note(tiles=len(tiles) / max(len(images), 1))
        pixels = ((i, x, y, images[i][:, y : y + h, x : x + w]) for i, x, y, (h, w) in tiles)
        with self.timed('tiles'):
            for i, found in self._detect_tiles(pixels):
                views[i].append(found)
        for stage in self._whole_stages:
            with self.timed('whole'):
                for view, result in zip(views, stage(images)):
                    view.append(result)
        with self.timed('merge'):
            return [self._merged(results) for results in views]

    def stage_passes(self, size_hw: tuple[int, int]) -> dict[str, tuple[BaseDetector, list[tuple[int, int]]]]:
        """See :class:`CompositeDetector`."""
        tiles = [tile_hw for _, _, tile_hw in tile_windows((size_hw[1], size_hw[0]), self.tile_wh, self.overlap)]
        stages = dict(tiles=(self.stage.detector, [size for tile in tiles for size in self.stage.passes(tile)]))
        for stage in self._whole_stages:
            stages['whole'] = (stage.detector, stage.passes(size_hw))
        return stages

    @torch.no_grad()
    def detect_tiled(self, image: TiledImage, on_tiles: Callable[[int], None] | None = None) -> InstanceData:
        """Detections in an image that need not fit into the memory; the same as :meth:`detect` gives for its pixels.

        Args:
            image: see :func:`mmdet.formats.windows.open_tiled`.
            on_tiles: called with the number of tiles that were done since the last call.

        Raises:
            ConfigError: the detector looks at the whole image as well, and this one is not in memory.
        """
        if self._whole_stages and not image.whole:
            message = 'must be None for images that are read by tiles, as the whole is never in memory'
            raise ConfigError(message, field='whole', received=self.whole)
        device = next(self.parameters()).device
        width, height = image.size_wh
        tile_wh = self.tile_wh or image.size_wh
        tiles = ((0, x, y, _as_tensor(pixels, device)) for x, y, pixels in image.tiles(tile_wh, self.overlap))
        views = []
        for _, found in self._detect_tiles(tiles):
            views.append(found)
            if on_tiles is not None:
                on_tiles(1)
        for stage in self._whole_stages:
            views += stage([_as_tensor(image.read_rows(0, height), device)])
        return self._merged(views)

    def _merged(self, views: list[InstanceData]) -> InstanceData:
        return merge_views(views, self.nms, self.max_per_img, self.stage.end_to_end)

    def _detect_tiles(self, tiles: Iterable[tuple[int, int, int, Tensor]]) -> Iterator[tuple[int, InstanceData]]:
        """The detections of each tile in pixels of its image; a tile is its image's number, left and upper edge, and pixels (3, h, w)."""
        waiting = iter(tiles)
        while chunk := list(itertools.islice(waiting, self._tiles_at_once)):
            for (i, x, y, _), found in zip(chunk, self.stage([tile for *_, tile in chunk])):
                found.bboxes = found.bboxes + found.bboxes.new_tensor([x, y, x, y])
                yield i, found


def _as_tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """(h, w, 3) pixels as a (3, h, w) tensor of its own memory."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(device)
