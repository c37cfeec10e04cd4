"""Region proposal network (Ren et al., Faster R-CNN, NeurIPS 2015, arXiv 1506.01497).

Naming: B images, A anchors of a location, K class channels of an anchor (1; 2 with a softmax).
"""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.registry import MODELS

from .anchor_head import AnchorHead
from .base_dense_head import LevelOutputs, Losses
from .batch_decode import BatchCandidates
from .level_outputs import BatchLevel


@MODELS.register_module()
class RPNHead(AnchorHead):
    """Objectness and box deltas of every anchor; its detections, of one class, are the proposals of a second stage.

    The NMS treats each level apart.

    Args:
        in_channels: see :class:`AnchorHead`.
        num_classes: 1, the object.
        num_convs: 3x3 convolutions before the outputs.
        init_cfg: by default N(0, 0.01).
        **kwargs: further arguments of :class:`AnchorHead`.
    """

    # Its one class is none of the data set's; a checkpoint's is kept whatever the classes of the second stage are.
    check_num_classes = False
    class_agnostic = True
    class_predictor = ''

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 1,
        init_cfg: dict | list[dict] | None = None,
        num_convs: int = 1,
        **kwargs: Any,
    ):
        self.num_convs = num_convs
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)

    def _init_layers(self) -> None:
        if self.num_convs > 1:
            channels = [self.in_channels, *[self.feat_channels] * self.num_convs]
            convs = [ConvModule(i, o, 3, padding=1, inplace=False) for i, o in zip(channels, channels[1:])]
            self.rpn_conv: nn.Module = nn.Sequential(*convs)
        else:
            self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * self._box_channels, 1)

    def forward_single(self, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        """Class scores (B, A K, H, W) and box deltas (B, 4 A, H, W) of one level."""
        x = self.rpn_conv(x).relu()
        return self.rpn_cls(x), self.rpn_reg(x)

    def loss_by_feat(self, *args: Any, **kwargs: Any) -> Losses:
        """The losses of :class:`AnchorHead`, as ``loss_rpn_cls`` and ``loss_rpn_bbox``; divided by the number of sampled anchors."""
        losses = super().loss_by_feat(*args, **kwargs)
        return {name.replace('loss_', 'loss_rpn_'): values for name, values in losses.items()}

    def _pair_candidates(self, levels: list[LevelOutputs], cfg: ConfigDict, img_shape: tuple[int, int]) -> InstanceData:
        """The best ``nms_pre`` anchors of each level, and ``level_ids`` (n,), the numbers of the levels, which the NMS goes by."""
        found = []
        for number, level in enumerate(levels):
            found.append(super()._pair_candidates([level], cfg, img_shape))
            found[-1].level_ids = torch.full_like(found[-1].labels, number)
        return InstanceData.cat(found)

    _prior_candidates = _pair_candidates

    def _batch_candidates(
        self, levels: list[BatchLevel], cfg: ConfigDict, limits: tuple[Tensor, Tensor]
    ) -> BatchCandidates:
        found = [super(RPNHead, self)._batch_candidates([level], cfg, limits).pairs() for level in levels]
        boxes, scores = (torch.cat(parts, dim=1) for parts in zip(*((part.boxes, part.scores) for part in found)))
        numbers = torch.cat([torch.full_like(part.scores, i, dtype=torch.int64) for i, part in enumerate(found)], dim=1)
        return BatchCandidates(boxes, scores, torch.zeros_like(numbers), self.num_classes, (numbers, len(levels)))

    def _bbox_post_process(
        self, results: InstanceData, cfg: dict | Config | None = None, *args: Any, **kwargs: Any
    ) -> InstanceData:
        results.labels = results.pop('level_ids')
        found = super()._bbox_post_process(results, cfg, *args, **kwargs)
        found.labels = torch.zeros_like(found.labels)
        return found
