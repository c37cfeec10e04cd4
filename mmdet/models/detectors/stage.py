"""A detector used as one stage of a larger one: image tensors in, boxes in their own pixels out.

Naming: B images, n detections of one image. A view is an image at one scale, plain or flipped.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import clip_boxes, get_box_wh
from mmdet.core.post_processing import merge_views
from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import MODELS
from mmdet.utils.checks import is_number
from mmdet_runtime.resizing import rescale_size_hw

from .base import BaseDetector
from .tta import flip_boxes

# What detectors decode by.
_TEST_CFG = ('score_thr', 'nms_pre', 'nms_pre_rule', 'min_bbox_size', 'nms', 'max_per_img')


def resize_image(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear resize with half-pixel centres and no smoothing, as OpenCV's, of a (3, h, w) image.

    8-bit images are rounded to 8 bits, so that a stage sees what it was trained on; float images keep their fractions.
    """
    if tuple(image.shape[-2:]) == tuple(size_hw):
        return image
    resized = F.interpolate(image[None].float(), size=size_hw, mode='bilinear', align_corners=False)[0]
    return resized.round_().clamp_(0, 255).to(torch.uint8) if image.dtype == torch.uint8 else resized


@dataclasses.dataclass(frozen=True)
class _View:
    """Image number ``owner`` resized to one scale, with the metainfo of that scale; ``flipped``: the detector sees it mirrored."""

    owner: int
    image: Tensor
    meta: dict
    flipped: bool = False


@MODELS.register_module()
class DetectionStage(BaseModule):
    """Resize, normalise, detect, map back; optionally at several scales, and with the flipped image as a further view of each.

    The candidates of all views go through one NMS, without any NMS of their own before, as in mmdetection's multi-scale flip test. Those of an
    end-to-end detector do not suppress others of their own view, so that of a single view the best ``max_per_img`` are kept.
    Images are batched by padded size, so that the detections of one image never depend on the padding of another.

    Args:
        detector: a detector or its config, with its ``data_preprocessor``; what it must offer is listed at :class:`BaseDetector`, which does so for
            a head with ``predict_by_feat(..., with_nms=False)``.
        scale: (w, h) as in the ``Resize`` transform, aspect ratio kept; or a list of these for multi-scale detection.
        flip: add the horizontally flipped view.
        batch_size: largest number of views in one pass.
        classes: names by label, where the stages of a composite detector have different classes; None leaves them unknown.
        test_cfg: entries of the detector's ``detection_cfg`` that are others in this stage, such as ``dict(score_thr=0.2)``; two stages may
            share a detector.
        max_zoom: images are enlarged by no more than this, however small they are: a mosaic of a few tiles then takes as few pixels as they
            need, instead of as many as ``scale`` allows. None enlarges all to ``scale``.
    """

    def __init__(
        self,
        detector: dict | BaseDetector,
        scale: tuple[int, int] | list[tuple[int, int]],
        flip: bool = True,
        batch_size: int = 8,
        classes: Sequence[str] | None = None,
        test_cfg: dict | None = None,
        max_zoom: float | None = None,
    ):
        super().__init__()
        sizes: Any = scale if scale and isinstance(scale[0], Sequence) else [scale]
        scales: list[tuple[int, int]] = [tuple(size) for size in sizes]
        if any(len(size) != 2 or min(size) < 1 for size in scales):
            message = 'must be two positive sizes (w, h), or a list of these'
            raise ConfigError(message, field='scale', received=scale)
        if batch_size < 1:
            raise ConfigError('must be at least 1', field='batch_size', received=batch_size)
        if max_zoom is not None and not (is_number(max_zoom) and 0 < max_zoom < float('inf')):
            raise ConfigError('must be None or a positive number', field='max_zoom', received=max_zoom)
        self.detector: BaseDetector = detector if isinstance(detector, nn.Module) else MODELS.build(detector)
        lacking = [name for name in ('num_classes', 'detection_cfg', 'candidates') if not hasattr(self.detector, name)]
        if lacking:
            message = f'must be a single detector: {type(self.detector).__name__} has no {" and no ".join(lacking)}'
            raise ConfigError(message, field='detector', received=type(self.detector).__name__)
        self.scales, self.flip, self.batch_size = scales, flip, batch_size
        self.max_zoom = max_zoom
        self._test_cfg: ConfigDict | None = None
        if test_cfg is not None:
            known = {*_TEST_CFG, *self.detector.detection_cfg}
            if not isinstance(test_cfg, Mapping) or not known.issuperset(test_cfg):
                raise ConfigError(f'must be a dict of some of {sorted(known)}', field='test_cfg', received=test_cfg)
            self._test_cfg = ConfigDict({**self.detector.detection_cfg, **test_cfg})
        self.classes = None if classes is None else tuple(classes)
        if self.classes is not None and len(self.classes) != self.num_classes:
            message = f'must be the names of the {self.num_classes} classes of the detector'
            raise ConfigError(message, field='classes', received=self.classes)

    @property
    def num_classes(self) -> int:
        """Classes of the detector."""
        return self.detector.num_classes

    @property
    def end_to_end(self) -> bool:
        """Whether the detector has one box for each object of a view."""
        return self.detector.end_to_end

    @property
    def test_cfg(self) -> ConfigDict:
        """Settings of the detector's last step in this stage; of a two-stage detector, those of its second."""
        return self.detector.detection_cfg if self._test_cfg is None else self._test_cfg

    @torch.no_grad()
    def forward(self, images: list[Tensor]) -> list[InstanceData]:
        """Detections of (3, h, w) BGR images, uint8 or float in [0, 255], of any sizes.

        Returns:
            per image ``bboxes`` (n, 4) xyxy in its pixels, ``scores`` (n,) in descending order, ``labels`` (n,).

        Raises:
            ModelInputError: an image without pixels.
        """
        views = [self._view(owner, image, scale) for owner, image in enumerate(images) for scale in self.scales]
        if self.flip:
            views += [dataclasses.replace(view, flipped=True) for view in views]
        candidates: list[list[InstanceData]] = [[] for _ in images]
        for view, found in zip(views, self._candidates(views)):
            candidates[view.owner].append(found)
        nms, limit = self.test_cfg.get('nms'), self.test_cfg.get('max_per_img', -1)
        return [merge_views(own, nms, limit, self.end_to_end) for own in candidates]

    def input_size_hw(self, size_hw: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
        """Height and width, before padding, at which the detector sees an image at one of ``scales``."""
        return rescale_size_hw(size_hw, scale, self.max_zoom)

    def passes(self, size_hw: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width, before padding, of every view of an image."""
        sizes = [self.input_size_hw(size_hw, scale) for scale in self.scales]
        return sizes * 2 if self.flip else sizes

    def _view(self, owner: int, image: Tensor, scale: tuple[int, int]) -> _View:
        height, width = image.shape[-2:]
        if min(height, width) == 0:
            raise ModelInputError('an image needs pixels', field='image', received=tuple(image.shape))
        resized = resize_image(image, self.input_size_hw((height, width), scale))
        new_h, new_w = resized.shape[-2:]
        meta = dict(ori_shape=(height, width), img_shape=(new_h, new_w), scale_factor=(new_w / width, new_h / height))
        return _View(owner, resized, meta)

    def _candidates(self, views: list[_View]) -> list[InstanceData]:
        """Candidates of every view before the NMS, in pixels of the unresized, unflipped image."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        divisor = self.detector.data_preprocessor.pad_size_divisor
        for index, view in enumerate(views):
            height, width = view.meta['img_shape']
            groups[-(-height // divisor), -(-width // divisor)].append(index)
        found: dict[int, InstanceData] = {}
        for group in groups.values():
            for start in range(0, len(group), self.batch_size):
                chunk = group[start : start + self.batch_size]
                batch = [views[i].image.flip(-1) if views[i].flipped else views[i].image for i in chunk]
                metas = [views[i].meta for i in chunk]
                data = self.detector.data_preprocessor(dict(inputs=batch))
                results = self.detector.candidates(data['inputs'], metas, self.test_cfg)
                for i, result in zip(chunk, results):
                    if not self.detector.clips_boxes:
                        result = _on_image(result, views[i].meta['ori_shape'])
                    if views[i].flipped:
                        result.bboxes = flip_boxes(result.bboxes, views[i].meta['ori_shape'])
                    found[i] = result
        return [found[i] for i in range(len(views))]


def _on_image(found: InstanceData, size_hw: tuple[int, int]) -> InstanceData:
    """The parts of boxes that lie on the image; boxes outside are dropped. Regions are made of boxes, and tiles merged by them."""
    found.bboxes = clip_boxes(found.bboxes, size_hw)
    widths, heights = get_box_wh(found.bboxes)
    return found[(widths > 0) & (heights > 0)]
