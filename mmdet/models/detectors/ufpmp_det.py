"""UFPMP-Det (Huang et al., AAAI 2022, arXiv 2112.10415): detect, pack what was found into one mosaic, detect again there.

Naming: B images, R regions of one image, n detections of one image.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.post_processing import ScoredBoxes, merge_views
from mmdet.core.ufp import boxes_to_image, pack_images, render_mosaic, whole_image
from mmdet.errors import ConfigError
from mmdet.registry import MODELS
from mmdet.utils.class_names import map_classes

from .composite import CompositeDetector
from .stage import DetectionStage

_ON_EMPTY = ('skip', 'whole')


@dataclasses.dataclass(frozen=True)
class UFPMPTrace:
    """Intermediate and final results of :class:`UFPMPDet` for one image.

    Attributes:
        coarse: detections of the first pass, in pixels of the image.
        regions: (R, 7) of :func:`mmdet.core.ufp.UnifiedForegroundPacking`.
        mosaic: (3, mosaic_h, mosaic_w) float32; without pixels where there is no region.
        fine: detections of the second pass, in pixels of the mosaic; None for a mosaic without pixels.
        merged: the final detections, in pixels of the image.
    """

    coarse: InstanceData
    regions: Tensor
    mosaic: Tensor
    fine: InstanceData | None
    merged: InstanceData


@MODELS.register_module()
class UFPMPDet(CompositeDetector):
    """A coarse detector finds the foreground, unified foreground packing makes a mosaic of it, a fine detector detects on the mosaic.

    Images must have full resolution (the test pipeline neither resizes nor normalises); both stages resize on the device. The two
    detectors are trained one after the other, with their own configs; this one only predicts. Its classes are those of the fine stage; the
    coarse one may have others, or the same in another order, if both name theirs: coarse boxes are merged under the class of their name.

    Args:
        coarse: arguments of :class:`DetectionStage`: ``detector``, ``scale``, ``flip``, ``batch_size``, ``classes``.
        fine: the same, for the second pass.
        ufp: arguments of :func:`mmdet.core.ufp.UnifiedForegroundPacking`: ``scale`` (the expansion), ``mode``, ``packing``,
            ``max_side``.
        nms: config of the NMS that merges the boxes of all tiles; by default IoU 0.6 with ``offset=1``, which counts sides by
            inclusive pixels, as the original does.
        max_per_img: largest number of detections to keep after the merge; a negative number keeps all.
        min_overlap: a detection belongs to a tile when their overlap exceeds this share of the smaller of the two.
        coarse_weight: in [0, 1]; merge the coarse boxes too, with their scores times this. 0 leaves them out, as the original does.
        on_empty: for an image without coarse detections: ``'skip'`` returns no detections, ``'whole'`` makes the whole image the
            only tile.
        data_preprocessor, init_cfg: configs of the preprocessor of full-resolution images and of the initialisation.

    Raises:
        ConfigError: stages of different class counts that do not name their ``classes``, an unknown ``on_empty``, a ``coarse_weight`` outside [0, 1].
    """

    def __init__(
        self,
        coarse: dict,
        fine: dict,
        ufp: dict | None = None,
        nms: dict | None = None,
        max_per_img: int = 500,
        min_overlap: float = 0.9,
        coarse_weight: float = 0.0,
        on_empty: str = 'skip',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        if on_empty not in _ON_EMPTY:
            raise ConfigError(f'must be one of {_ON_EMPTY}', field='on_empty', received=on_empty)
        if not 0 <= coarse_weight <= 1:
            raise ConfigError('must be in [0, 1]', field='coarse_weight', received=coarse_weight)
        self.coarse, self.fine = DetectionStage(**coarse), DetectionStage(**fine)
        classes = (self.coarse.num_classes, self.fine.num_classes)
        self._fine_labels: tuple[int, ...] | None = None  # of the coarse labels, where they differ
        if self.coarse.classes is not None and self.fine.classes is not None:
            self.match_stage_classes(dict(coarse=self.coarse.classes, fine=self.fine.classes))
        elif classes[0] != classes[1]:
            raise ConfigError('both stages must have the same classes', field='num_classes', received=classes)
        self.ufp = dict(ufp or {})
        self.nms = nms or dict(type='nms', iou_threshold=0.6, offset=1)
        self.max_per_img, self.min_overlap = max_per_img, min_overlap
        self.coarse_weight, self.on_empty = coarse_weight, on_empty

    def match_stage_classes(self, names: Mapping[str, Sequence[str]]) -> list[str]:
        """Learn the class names of the stages, ``coarse`` and ``fine``; returns sentences about what is not equal.

        Where the stages have no class in common, the coarse one only finds the foreground, and its boxes are not merged.
        """
        coarse, fine = (tuple(names[stage]) for stage in ('coarse', 'fine'))
        if not set(coarse) & set(fine) and len(coarse) != len(fine):
            self._fine_labels = (-1,) * len(coarse)
            return [
                f'The coarse stage, of {len(coarse)} classes, knows none of the fine one: it only finds the foreground'
            ]
        found = map_classes(coarse, fine, 'The fine stage')
        self._fine_labels = None if found.is_identity else found.labels
        return list(found.notes)

    @property
    def num_classes(self) -> int:
        """Classes of the fine stage, which are those of the detections."""
        return self.fine.num_classes

    def detect(self, images: list[Tensor]) -> list[InstanceData]:
        """Detections of (3, h, w) uint8 images, in their own pixels."""
        return [steps.merged for steps in self.trace(images)]

    def predict_with_mosaic(self, image: Tensor) -> dict[str, Any]:
        """The fields of one image's :class:`UFPMPTrace` as a dict, for pictures."""
        return vars(self.trace([image])[0])

    def trace(self, images: list[Tensor]) -> list[UFPMPTrace]:
        """Detections of (3, h, w) uint8 images, with all intermediate results."""
        with self.timed('coarse'):
            coarse = self.coarse(images)
        with self.timed('packing'):
            packed = self.pack(coarse, [(image.shape[2], image.shape[1]) for image in images])
        for regions, width, height in packed:
            self.note(regions=len(regions), mosaic_w=width, mosaic_h=height)
        with self.timed('mosaic'):
            mosaics = [self.render(image, *layout) for image, layout in zip(images, packed)]
            # A region thinner than a pixel has no tile: a mosaic may have no pixels even where there are regions.
            seen = [i for i, mosaic in enumerate(mosaics) if min(mosaic.shape[1:]) > 0]
        with self.timed('fine'):
            fine = dict(zip(seen, self.fine([mosaics[i] for i in seen])))
        with self.timed('merge'):
            return [
                UFPMPTrace(found, regions, mosaic, fine.get(i), self.merge(found, fine.get(i), regions))
                for i, (found, (regions, _, _), mosaic) in enumerate(zip(coarse, packed, mosaics))
            ]

    def pack(self, coarse: list[InstanceData], sizes_wh: list[tuple[int, int]]) -> list[tuple[Tensor, float, float]]:
        """Regions (R, 7), mosaic width and height of each image."""
        # Class after class, by descending score within a class: the clustering is one greedy pass over this order.
        boxes = [found.bboxes[torch.argsort(found.labels, stable=True)] for found in coarse]
        packed = pack_images(boxes, sizes_wh, **self.ufp)
        if self.on_empty == 'whole':
            for i, ((regions, _, _), (width, height)) in enumerate(zip(packed, sizes_wh)):
                if len(regions) == 0:
                    whole = torch.as_tensor(whole_image((width, height)), device=regions.device, dtype=regions.dtype)
                    packed[i] = (whole, float(width), float(height))
        return packed

    def render(self, image: Tensor, regions: Tensor, mosaic_w: float, mosaic_h: float) -> Tensor:
        """Mosaic (3, ceil(mosaic_h), ceil(mosaic_w)) float32; pixel values are not rounded, as in the original."""
        # Without regions an image of no pixels is enough; it saves the conversion of the whole image.
        return render_mosaic((image if len(regions) else image[:, :0]).float(), regions, mosaic_w, mosaic_h)

    def merge(self, coarse: InstanceData, fine: InstanceData | None, regions: Tensor) -> InstanceData:
        """Boxes of the mosaic back in the image, with the coarse ones where asked for, through one NMS per class."""
        views = [ScoredBoxes(coarse.bboxes[:0], coarse.scores[:0], coarse.labels[:0])]
        if fine is not None:
            bboxes, index, _ = boxes_to_image(fine.bboxes, regions, self.min_overlap)
            views.append(ScoredBoxes(bboxes, fine.scores[index], fine.labels[index]))
        if self.coarse_weight > 0:
            labels = coarse.labels
            if self._fine_labels is not None:
                labels = labels.new_tensor(self._fine_labels)[labels]
            known = labels >= 0
            views.append(ScoredBoxes(coarse.bboxes[known], coarse.scores[known] * self.coarse_weight, labels[known]))
        return merge_views(views, self.nms, self.max_per_img)
