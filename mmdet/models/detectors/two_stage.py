"""Detectors of two stages in one network: proposals of a dense head, then a head that looks at each of them.

Naming: B images, L levels, n proposals or detections of one image.
"""

from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.models.dense_heads.batch_nms import exportable_nms, ranked
from mmdet.models.roi_heads import BBoxHead
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead, refuse_masks
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, OptSampleList, SampleList

from .single_stage import PyramidDetector
from .strides import check_strides


@MODELS.register_module()
class TwoStageDetector(PyramidDetector):
    """Backbone, optional neck, a head for proposals, a head for what is in them.

    Args:
        backbone, neck: see :class:`SingleStageDetector`.
        rpn_head: config of the dense head that proposes regions; its classes are one, the object. None: each sample brings its
            ``proposals``, with ``bboxes`` (n, 4) in pixels of the input (Fast R-CNN).
        roi_head: config of the second stage.
        train_cfg: ``rpn`` and ``rcnn`` of the two heads, ``rpn_proposal``, the settings of the proposals in training.
        test_cfg: ``rpn``, the settings of the proposals, and ``rcnn``, those of the detections.
        data_preprocessor, init_cfg: configs of the preprocessor and of the initialisation.

    Raises:
        ConfigError: no ``roi_head``, a ``mask_head``, or settings of a stage that are missing.
    """

    _dense_head_names = ('rpn_head', 'bbox_head')

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        rpn_head: dict | Config | None = None,
        roi_head: dict | Config | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        if roi_head is None:
            raise ConfigError('is needed', field='roi_head', received=None)
        refuse_masks({name: roi_head.get(name) for name in ('mask_roi_extractor', 'mask_head')}, 'roi_head')
        needed = ['rcnn'] if rpn_head is None else ['rpn', 'rcnn']
        for field, cfg in dict(train_cfg=self.train_cfg, test_cfg=self.test_cfg).items():
            lacking = [name for name in needed if name not in cfg]
            if lacking and (cfg or field == 'test_cfg'):
                raise ConfigError(f'must have {needed}, the settings of the stages', field=field, received=list(cfg))
        if rpn_head is not None:
            options = dict(train_cfg=self.train_cfg.get('rpn'), test_cfg=self.test_cfg.rpn)
            self.rpn_head = MODELS.build(ConfigDict(to_config_dict(rpn_head), **options))
        options = dict(train_cfg=self.train_cfg.get('rcnn'), test_cfg=self.test_cfg.rcnn)
        # From images and their sizes to what batch_outputs() gives: see mmdet.apis.backends.
        self.backend_network: nn.Module | None = None
        self.roi_head: BaseRoIHead = MODELS.build(ConfigDict(to_config_dict(roi_head), **options))
        check_strides(self)

    @property
    def with_rpn(self) -> bool:
        """Whether there is a head for proposals."""
        return getattr(self, 'rpn_head', None) is not None

    @property
    def with_roi_head(self) -> bool:
        """Whether there is a second stage."""
        return getattr(self, 'roi_head', None) is not None

    @property
    def detection_head(self) -> BaseRoIHead:
        """The second stage."""
        return self.roi_head

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """Losses of both heads; those of the first begin with ``loss_rpn``."""
        x = self.extract_feat(batch_inputs)
        losses: Losses = {}
        if self.with_rpn:
            cfg = self.train_cfg.get('rpn_proposal', self.test_cfg.rpn)
            samples = [as_objects(sample) for sample in batch_data_samples]
            found, proposals = self.rpn_head.loss_and_predict(x, samples, proposal_cfg=cfg)
            losses.update((name if 'rpn' in name else f'rpn_{name}', value) for name, value in found.items())
        else:
            proposals = _given_proposals(batch_data_samples)
        losses.update(self.roi_head.loss(x, proposals, batch_data_samples))
        return losses

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, in original-image pixels when ``rescale``."""
        if self.backend_network is None or self.training:
            x = self.extract_feat(batch_inputs)
            proposals = self._proposals(x, batch_data_samples)
            results = self.roi_head.predict(x, proposals, batch_data_samples, rescale=rescale)
        else:
            metas = [sample.metainfo for sample in batch_data_samples]
            results = self._by_backend(batch_inputs, metas, self.roi_head.test_cfg, rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def candidates(
        self, batch_inputs: Tensor, batch_img_metas: list[dict], test_cfg: ConfigDict | None = None
    ) -> list[InstanceData]:
        """See :class:`BaseDetector`; the proposals have been through the NMS of the first stage."""
        # Settings instead of an argument, which a subclass written for mmdetection would not have.
        cfg = ConfigDict(test_cfg or self.roi_head.test_cfg, nms=None, max_per_img=-1)
        if self.backend_network is not None and not self.training:
            return self._by_backend(batch_inputs, batch_img_metas, cfg, True)
        with self.inference_context(batch_inputs):
            x = self.extract_feat(batch_inputs)
            proposals = self._proposals(x, [DetDataSample(metainfo=meta) for meta in batch_img_metas])
            return self.roi_head.predict_bbox(x, batch_img_metas, proposals, cfg, rescale=True)

    def _by_backend(
        self, batch_inputs: Tensor, metas: list[dict], cfg: ConfigDict, rescale: bool
    ) -> list[InstanceData]:
        assert self.backend_network is not None
        sizes = torch.tensor([tuple(meta['img_shape'][:2]) for meta in metas], device=batch_inputs.device)
        return self.roi_head.predict_outputs(self.backend_network(batch_inputs, sizes), metas, cfg, rescale)

    def own_steps(self) -> list[str]:
        """Methods of a subclass, or of its head's, which computing the candidates elsewhere would pass over."""
        kind, head = type(self), type(self.detection_head)
        names = ('predict', 'candidates', 'batch_outputs')
        own = [name for name in names if getattr(kind, name) is not getattr(TwoStageDetector, name)]
        known = next(
            one for one in head.__mro__ if 'batch_outputs' in vars(one)
        )  # the class that its exported form is of
        names = ('predict', 'predict_bbox', 'forward')
        return own + [f'roi_head.{name}' for name in names if getattr(head, name) is not getattr(known, name)]

    def check_exportable(self) -> None:
        """Raise a ConfigError where :meth:`batch_outputs` is not possible."""
        if not self.with_rpn:
            message = 'is needed for an export: a network that is given its proposals (Fast R-CNN) has other inputs'
            raise ConfigError(message, field='rpn_head', received=None)
        exportable_nms(self.rpn_head.test_cfg, self.rpn_head.legacy, 'test_cfg.rpn')
        heads = [head for head in self.roi_head.modules() if isinstance(head, BBoxHead)]
        if not all(head.with_cls and head.with_reg for head in heads):
            raise ConfigError('must predict classes and boxes for an export', field='roi_head.bbox_head')

    def traced_outputs(self, images: Tensor, sizes_hw: Tensor | None = None) -> tuple[Tensor, ...]:
        """:meth:`batch_outputs`, which need the sizes."""
        assert sizes_hw is not None, 'the sizes of the images are needed'
        return self.batch_outputs(images, sizes_hw)

    def batch_outputs(self, batch_inputs: Tensor, sizes_hw: Tensor) -> tuple[Tensor, ...]:
        """Raw outputs of the second stage for exporters, by operations whose sizes never depend on values.

        Args:
            batch_inputs: (B, 3, H, W).
            sizes_hw: (B, 2) height and width of each image in pixels, before padding.

        Returns:
            regions (B, P, 4), the scores of the proposals (B, P) that they come from, 0 where there are fewer than
            P = ``test_cfg.rpn.max_per_img``, and the class logits and deltas of :meth:`BaseRoIHead.batch_outputs`.
        """
        x = self.extract_feat(batch_inputs)
        raw = self.rpn_head(x)
        with torch.autocast(batch_inputs.device.type, enabled=False):
            settings = exportable_nms(self.rpn_head.test_cfg, self.rpn_head.legacy, 'test_cfg.rpn')
            input_hw = (batch_inputs.shape[2], batch_inputs.shape[3])
            found = self.rpn_head.batch_candidates(raw, sizes_hw, input_hw, cfg=settings)
            found, objectness, places = ranked(found, settings)
            regions = found.boxes.gather(1, places.unsqueeze(-1).expand(-1, -1, 4))
        heights, widths = sizes_hw.to(torch.float32).unbind(1)
        regions, logits, deltas = self.roi_head.batch_outputs(x, regions, (heights, widths))
        return regions, objectness, logits, deltas

    def _proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> list[InstanceData]:
        """``bboxes`` (n, 4) of each image, in pixels of the input."""
        return self.rpn_head.predict(x, samples, rescale=False) if self.with_rpn else _given_proposals(samples)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> tuple:
        """Raw outputs of the second stage for the proposals; without samples the images are taken to fill the input."""
        x = self.extract_feat(batch_inputs)
        meta = dict(img_shape=tuple(batch_inputs.shape[-2:]))
        samples = batch_data_samples or [DetDataSample(metainfo=meta) for _ in batch_inputs]
        return self.roi_head(x, self._proposals(x, samples), samples)

    def forward_shapes(self, batch_inputs: Tensor) -> Any:
        """Run every layer once without regard to values: the second stage on as many regions as there can be proposals."""
        x = self.extract_feat(batch_inputs)
        self.roi_head.forward_shapes(x, max(self.test_cfg.get('rpn', {}).get('max_per_img', 1000), 1))
        return self.rpn_head(x) if self.with_rpn else x


def as_objects(sample: DetDataSample) -> DetDataSample:
    """The sample with all ground truth as the one class of the proposals; the given one is left as it is."""
    truth = InstanceData(bboxes=sample.gt_instances.bboxes, labels=torch.zeros_like(sample.gt_instances.labels))
    found = DetDataSample(metainfo=sample.metainfo, gt_instances=truth)
    if 'ignored_instances' in sample:
        found.ignored_instances = sample.ignored_instances
    return found


def _given_proposals(samples: SampleList) -> list[InstanceData]:
    for sample in samples:
        if sample.get('proposals') is None:
            path = sample.metainfo.get('img_path')
            raise ModelInputError(
                'a detector without rpn_head needs them', record=path, field='proposals', received=None
            )
    return [sample.proposals for sample in samples]
