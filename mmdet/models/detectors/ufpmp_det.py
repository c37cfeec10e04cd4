"""UFPMP-Det (Huang et al., AAAI 2022, arXiv 2112.10415): detect, pack what was found into one mosaic, detect again there.

Naming: B images, R regions of one image, n detections of one image.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.post_processing import merge_views
from mmdet.core.ufp import render_mosaic
from mmdet.errors import ConfigError
from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils.class_names import map_classes
from mmdet_runtime.second_look import SecondLook

from .base import BaseDetector
from .composite import CompositeDetector
from .stage import DetectionStage

# Side of a mosaic that every scale has to reduce.
_LARGE = 10**6


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
class UFPMPDet(SecondLook, CompositeDetector):
    """A coarse detector finds the foreground, unified foreground packing makes a mosaic of it, a fine detector detects on the mosaic.

    Images must have full resolution (the test pipeline neither resizes nor normalises); both stages resize on the device. Two
    detectors are trained one after the other, with their own configs; this one then only predicts. Its classes are those of the fine stage;
    the coarse one may have others, or the same in another order, if both name theirs: coarse boxes are merged under the class of their name.
    Either stage may be any detector that can be a :class:`DetectionStage`, of any kind, with NMS or without.

    If ``fine`` has no ``detector``, one detector is both stages. It is trained as this model is, on images and mosaics of
    :class:`~mmdet.datasets.transforms.ForegroundMosaic`, which the training pipeline resizes; the checkpoint holds its weights once, and
    that of the same detector alone is read as well.

    Args:
        coarse: arguments of :class:`DetectionStage`: ``detector``, ``scale``, ``flip``, ``batch_size``, ``classes``, ``test_cfg``, ``max_zoom``.
        fine: the same, for the second pass. Without ``detector``, that of ``coarse``, whose other arguments are taken where ``fine`` does
            not give them, except ``test_cfg`` and ``max_zoom``.
        ufp: arguments of :func:`mmdet.core.ufp.UnifiedForegroundPacking`: ``scale`` (the expansion), ``mode``, ``packing``,
            ``max_side``; ``min_score`` and ``score_rule`` leave out regions of low confidence, ``whole_zoom`` adds the whole image as a tile.
        nms: config of the NMS that merges the boxes of all tiles; by default IoU 0.6 with ``offset=1``, which counts sides by
            inclusive pixels, as the original does.
        max_per_img: largest number of detections to keep after the merge; a negative number keeps all.
        min_overlap: a detection belongs to a tile when their overlap exceeds this share of the smaller of the two.
        coarse_weight: in [0, 1]; merge the coarse boxes too, with their scores times this. 0 leaves them out, as the original does.
        on_empty: for an image without coarse detections, or of whose regions none reaches ``ufp.min_score``: ``'skip'`` returns no
            detections, ``'whole'`` makes the whole image the only tile.
        coarse_area: in pixels of the image. Objects of this area or more are answered by the coarse pass, with its scores, and make no
            regions; smaller ones by the mosaic (and by ``coarse_weight``). None leaves all to the mosaic.
        look_below: look a second time only at images where a coarse box is smaller than this, the root of its area in pixels of the largest
            coarse input; for the others the coarse detections are the result. 0 never looks twice, whatever ``on_empty`` says, None always does.
        look_score: least score of a coarse box that calls for a second look.
        data_preprocessor, init_cfg: configs of the preprocessor of full-resolution images and of the initialisation.

    Raises:
        ConfigError: stages of different class counts that do not name their ``classes`` (a coarse stage that only proposes, as ``RPN``, needs
            none: its boxes are not merged), or any other argument out of range.
    """

    coarse: DetectionStage
    fine: DetectionStage
    _only_proposes = False  # the coarse stage, whose one class is any object

    def __init__(
        self,
        coarse: dict,
        fine: dict | None = None,
        ufp: dict | None = None,
        nms: dict | None = None,
        max_per_img: int = 500,
        min_overlap: float = 0.9,
        coarse_weight: float = 0.0,
        on_empty: str = 'skip',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        coarse_area: float | None = None,
        look_below: float | None = None,
        look_score: float = 0.0,
    ):
        super().__init__(data_preprocessor, init_cfg)
        self.set_looks(
            ufp=ufp, nms=nms, max_per_img=max_per_img, min_overlap=min_overlap, coarse_weight=coarse_weight, on_empty=on_empty,
            coarse_area=coarse_area, look_below=look_below, look_score=look_score,
        )  # fmt: skip
        self.coarse = DetectionStage(**coarse)
        if fine is None or fine.get('detector') is None:
            self.only_detector = 'coarse.detector.'
            inherited = {key: value for key, value in coarse.items() if key not in ('test_cfg', 'max_zoom')}
            # No registered module, so that the weights are counted, saved and trained once.
            self.__dict__['fine'] = DetectionStage(**{**inherited, **(fine or {}), 'detector': self.coarse.detector})
        else:
            self.fine = DetectionStage(**fine)
        classes = (self.coarse.num_classes, self.fine.num_classes)
        known = self.coarse.classes is not None and self.fine.classes is not None
        self._only_proposes = self.coarse.detector.class_agnostic and not self.fine.detector.class_agnostic
        if known or self._only_proposes:
            self.match_stage_classes(dict(coarse=self.coarse.classes or (), fine=self.fine.classes or ()))
        elif classes[0] != classes[1]:
            raise ConfigError('both stages must have the same classes', field='num_classes', received=classes)

    def match_stage_classes(self, names: Mapping[str, Sequence[str]]) -> list[str]:
        """Learn the class names of the stages, ``coarse`` and ``fine``; returns sentences about what is not equal.

        Where the stages have no class in common, or the coarse one only proposes, it finds the foreground, and its boxes are not merged.
        """
        if self._only_proposes:
            self._fine_labels = (-1,)
            return []
        coarse, fine = (tuple(names[stage]) for stage in ('coarse', 'fine'))
        if not set(coarse) & set(fine) and len(coarse) != len(fine):
            self._fine_labels = (-1,) * len(coarse)
            return [
                f'The coarse stage, of {len(coarse)} classes, knows none of the fine one: it only finds the foreground'
            ]
        found = map_classes(coarse, fine, 'The fine stage')
        self._fine_labels = None if found.is_identity else found.labels
        return list(found.notes)

    @staticmethod
    def detections(bboxes: Tensor, scores: Tensor, labels: Tensor) -> InstanceData:
        """Detections of these three."""
        return InstanceData(bboxes=bboxes, scores=scores, labels=labels)

    merge_views = staticmethod(merge_views)

    @property
    def num_classes(self) -> int:
        """Classes of the fine stage, which are those of the detections."""
        return self.fine.num_classes

    def loss(self, batch_inputs: list[Tensor], batch_data_samples: SampleList) -> Losses:
        """Losses of the only detector on images and mosaics as the training pipeline made them.

        Raises:
            ModelInputError: there are two detectors.
        """
        if self.only_detector is None:
            return super().loss(batch_inputs, batch_data_samples)
        detector = self.coarse.detector
        data = detector.data_preprocessor(dict(inputs=batch_inputs, data_samples=batch_data_samples), True)
        return detector.loss(data['inputs'], data['data_samples'])

    def detect(self, images: list[Tensor]) -> list[InstanceData]:
        """Detections of (3, h, w) uint8 images, in their own pixels."""
        return [steps.merged for steps in self.trace(images)]

    def stage_passes(self, size_hw: tuple[int, int]) -> dict[str, tuple[BaseDetector, list[tuple[int, int]]]]:
        """See :class:`CompositeDetector`; for the second stage, a square mosaic that fills its scale."""
        stages = dict(coarse=(self.coarse.detector, self.coarse.passes(size_hw)))
        if self.look_below != 0:
            stages['fine'] = (self.fine.detector, self.fine.passes((_LARGE, _LARGE)))
        return stages

    def predict_with_mosaic(self, image: Tensor) -> dict[str, Any]:
        """The fields of one image's :class:`UFPMPTrace` as a dict, for pictures."""
        return vars(self.trace([image])[0])

    def trace(self, images: list[Tensor]) -> list[UFPMPTrace]:
        """Detections of (3, h, w) uint8 images, with all intermediate results."""
        with self.timed('coarse'):
            coarse = self.coarse(images)
        with self.timed('packing'):
            sizes_wh = [(image.shape[2], image.shape[1]) for image in images]
            looks = [self.looks_again(*each) for each in zip(coarse, sizes_wh)]
            packed = self.pack(coarse, sizes_wh, looks)
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
                UFPMPTrace(found, regions, mosaic, fine.get(i), self.merge(found, fine.get(i), regions, looked))
                for i, (found, (regions, _, _), mosaic, looked) in enumerate(zip(coarse, packed, mosaics, looks))
            ]

    def render(self, image: Tensor, regions: Tensor, mosaic_w: float, mosaic_h: float) -> Tensor:
        """Mosaic (3, ceil(mosaic_h), ceil(mosaic_w)) float32; pixel values are not rounded, as in the original."""
        # Without regions an image of no pixels is enough; it saves the conversion of the whole image.
        return render_mosaic((image if len(regions) else image[:, :0]).float(), regions, mosaic_w, mosaic_h)
