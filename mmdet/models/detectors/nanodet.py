"""NanoDet and NanoDet-Plus (RangiLyu/nanodet)."""

import copy
from typing import Any

import torch
from torch import Tensor

from mmdet.errors import ConfigError
from mmdet.models.dense_heads.anchor_head import flatten_levels
from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.registry import MODELS
from mmdet.structures import SampleList

from ..utils.misc import current_epoch, unpack_gt_instances
from .single_stage import SingleStageDetector

_AUX = ('aux_fpn.', 'aux_head.')


@MODELS.register_module()
class NanoDet(SingleStageDetector):
    """NanoDet v0.x: GFL with a small backbone, neck and head."""


@MODELS.register_module()
class NanoDetPlus(SingleStageDetector):
    """NanoDet-Plus: in training, a second neck and a larger head beside the own ones choose the positives of both heads.

    Args:
        args: see :class:`SingleStageDetector`.
        aux_head: config of the auxiliary head, whose input are the maps of both necks, concatenated; None trains without it.
        detach_epoch: from this epoch on (counted from 0) the auxiliary losses train nothing but the auxiliary neck and head.
        kwargs: see :class:`SingleStageDetector`.

    Raises:
        ConfigError: the two heads differ in ``num_classes`` or ``reg_max``.
    """

    def __init__(self, *args: Any, aux_head: dict | None = None, detach_epoch: int = 10, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.detach_epoch = detach_epoch
        self.aux_fpn, self.aux_head = None, None
        if aux_head is not None:
            self.aux_fpn, self.aux_head = copy.deepcopy(self.neck), MODELS.build(aux_head)
            for field in ('num_classes', 'reg_max'):
                own, other = getattr(self.bbox_head, field), getattr(self.aux_head, field)
                if own != other:
                    raise ConfigError(f'must be that of bbox_head, {own}', field=f'aux_head.{field}', received=other)

    def init_weights(self) -> None:
        """The second neck begins as a copy of the first."""
        super().init_weights()
        if self.aux_fpn is not None:
            self.aux_fpn.load_state_dict(self.neck.state_dict())

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """Losses of the head and, by names that begin with ``aux_``, of the auxiliary head; lists over levels."""
        maps = self.backbone(batch_inputs)
        x = self.neck(maps)
        if self.aux_fpn is None or self.aux_head is None:
            return self.bbox_head.loss(x, batch_data_samples)
        beside = x
        if current_epoch() >= self.detach_epoch:
            maps, beside = (tuple(level.detach() for level in levels) for levels in (maps, x))
        pairs = zip(beside, self.aux_fpn(maps))
        helping = [flatten_levels(levels) for levels in self.aux_head(tuple(torch.cat(pair, 1) for pair in pairs))]
        own = [flatten_levels(levels) for levels in self.bbox_head(x)]
        gts, *_ = unpack_gt_instances(batch_data_samples)
        head: Any = self.bbox_head
        with torch.autocast(batch_inputs.device.type, enabled=False):
            targets = head.match_predictions(*helping, [tuple(level.shape[-2:]) for level in x], gts)
        losses = head.losses(*own, targets)
        return losses | {f'aux_{name}': value for name, value in self.aux_head.losses(*helping, targets).items()}

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Files for inference lack the auxiliary parts: its neck becomes a copy of the other one, its head keeps its weights."""
        stored = [key for key in state_dict if key.startswith(tuple(prefix + part for part in _AUX))]
        if self.aux_fpn is None or self.aux_head is None:
            for key in stored:
                del state_dict[key]
            return [f'{len(stored)} tensors of the auxiliary branch left out'] if stored else []
        if stored:
            return []
        for name in self.aux_fpn.state_dict():
            if (value := state_dict.get(f'{prefix}neck.{name}')) is not None:
                state_dict[f'{prefix}aux_fpn.{name}'] = value.clone()
        own = self.aux_head.state_dict()
        state_dict.update({f'{prefix}aux_head.{name}': value.clone() for name, value in own.items()})
        return ['without the auxiliary branch: its neck is a copy of the other one, its head has not been trained']
