"""Detection on uniform overlapping tiles, the baseline of every method for small objects (SAHI, ICIP 2022)."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.post_processing import merge_views
from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .composite import CompositeDetector
from .stage import DetectionStage


def slice_starts(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles that cover ``length`` pixels; the last one ends at the border.

    >>> slice_starts(1000, 400, 0.25)
    [0, 300, 600]
    >>> slice_starts(300, 400, 0.25)
    [0]
    """
    if length <= tile:
        return [0]
    return [*range(0, length - tile, max(int(tile * (1 - overlap)), 1)), length - tile]


@MODELS.register_module()
class SlicedDet(CompositeDetector):
    """One detector over overlapping tiles of an image, and over the whole of it, merged by NMS.

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
        if tile_wh is not None and (len(tile_wh) != 2 or min(tile_wh) < 1):
            raise ConfigError('must be two positive sizes (w, h), or None', field='tile_wh', received=tile_wh)
        if not 0 <= overlap < 1:
            raise ConfigError('must be in [0, 1)', field='overlap', received=overlap)
        self.stage = DetectionStage(**stage)
        self.whole = None if whole is None else dict(whole)
        # The same network with other settings, in a plain list so that its parameters are registered and saved only once.
        settings = [] if whole is None else [{**stage, **whole, 'detector': self.stage.detector}]
        self._whole_stages = [DetectionStage(**options) for options in settings]
        self.tile_wh, self.overlap = tile_wh and tuple(tile_wh), overlap
        self.nms = nms or dict(type='nms', iou_threshold=0.6)
        self.max_per_img = max_per_img

    @property
    def num_classes(self) -> int:
        """Classes of the detector."""
        return self.stage.num_classes

    def detect(self, images: list[Tensor]) -> list[InstanceData]:
        """Detections of (3, h, w) uint8 images, in their own pixels."""
        tiles, origins = [], []
        for i, image in enumerate(images):
            height, width = image.shape[1:]
            tile_w, tile_h = self.tile_wh or (width, height)
            for y in slice_starts(height, tile_h, self.overlap):
                for x in slice_starts(width, tile_w, self.overlap):
                    tiles.append(image[:, y : y + tile_h, x : x + tile_w])
                    origins.append((i, x, y))
        self.note(tiles=len(tiles) / max(len(images), 1))
        with self.timed('tiles'):
            found = self.stage(tiles)
        views: list[list[InstanceData]] = [[] for _ in images]
        for (i, x, y), result in zip(origins, found):
            result.bboxes = result.bboxes + result.bboxes.new_tensor([x, y, x, y])
            views[i].append(result)
        for stage in self._whole_stages:
            with self.timed('whole'):
                for view, result in zip(views, stage(images)):
                    view.append(result)
        with self.timed('merge'):
            return [merge_views(results, self.nms, self.max_per_img) for results in views]

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Read the checkpoint of the detector itself."""
        own, head = f'{prefix}stage.detector.', f'{prefix}bbox_head.'
        if any(name.startswith(own) for name in state_dict) or not any(name.startswith(head) for name in state_dict):
            return []
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[own + name[len(prefix) :]] = state_dict.pop(name)
        return ['the checkpoint is that of the detector which looks at the tiles']
