"""Head of Generalized Focal Loss V2 (Li et al., CVPR 2021): class scores times a quality read off the box distributions.

Naming: B images, C class channels, n = reg_max + 1 bins a side, k = reg_topk.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .gfl_head import GFLHead

_SIDES = 4


@MODELS.register_module()
class GFocalHead(GFLHead):
    """GFL head with the distribution-guided quality predictor (DGQP, section 3.2 of the paper).

    A sharp distribution has a high top value, so the k largest probabilities of every side tell how certain the box is; two 1x1
    convolutions turn them into one quality in (0, 1). :meth:`forward` returns probabilities, class probability times quality.

    The original repository has one class channel more than there are classes, which is trained to 0 and dropped at the end. Here a
    head has ``num_classes`` channels until a checkpoint with another number is loaded: a head of 80 classes that loads 81 channels
    keeps all 81, so that losses and detections are those of the checkpoint.

    Args:
        reg_topk: k.
        reg_channels: hidden channels of the predictor.
        add_mean: append the mean of the k values to them.
        **kwargs: arguments of :class:`GFLHead`; ``loss_cls`` must take probabilities (``use_sigmoid=False``).

    Raises:
        ConfigError: a class loss that takes logits, or a ``reg_topk`` outside [1, n].
    """

    scores_are_probabilities = True

    def __init__(self, *args: Any, reg_topk: int = 4, reg_channels: int = 64, add_mean: bool = True, **kwargs: Any):
        self.reg_topk, self.reg_channels, self.add_mean = reg_topk, reg_channels, add_mean
        kwargs.setdefault('loss_cls', dict(type='QualityFocalLoss', use_sigmoid=False, beta=2.0))
        super().__init__(*args, **kwargs)

    def _init_predictors(self) -> None:
        super()._init_predictors()
        if not 1 <= self.reg_topk <= self.reg_max + 1:
            raise ConfigError(f'must be in [1, {self.reg_max + 1}]', field='reg_topk', received=self.reg_topk)
        self.reg_conf = nn.Sequential(
            nn.Conv2d(_SIDES * (self.reg_topk + self.add_mean), self.reg_channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.reg_channels, 1, 1),
            nn.Sigmoid(),
        )

    def predict_quality(self, reg_logits: Tensor) -> Tensor:
        """Quality (B, 1, H, W) of side distribution logits (B, 4 n, H, W); gradients flow back into the logits."""
        probability = F.softmax(reg_logits.unflatten(1, (_SIDES, self.reg_max + 1)), dim=2)  # (B, 4, n, H, W)
        statistic = probability.topk(self.reg_topk, dim=2).values  # (B, 4, k, H, W)
        if self.add_mean:
            statistic = torch.cat([statistic, statistic.mean(dim=2, keepdim=True)], dim=2)
        return self.reg_conf(statistic.flatten(1, 2))

    def _class_output(self, cls_feat: Tensor, reg_logits: Tensor) -> Tensor:
        return self.joint_score(self.gfl_cls(cls_feat), reg_logits)

    def joint_score(self, cls_logits: Tensor, reg_logits: Tensor) -> Tensor:
        """Class probability times box quality, (B, C, H, W) float32."""
        return cls_logits.float().sigmoid() * self.predict_quality(reg_logits).float()

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Take over a checkpoint's number of class channels, C or C + 1; called before shapes are compared.

        The parameters stay the same objects, so that an optimiser built before goes on working.

        Returns:
            What changed, for the report of the load.
        """
        weight, before = state_dict.get(f'{prefix}gfl_cls.weight'), self.gfl_cls.out_channels
        channels = before if weight is None else len(weight)
        if channels == before or channels not in (self.num_classes, self.num_classes + 1):
            return []
        self.gfl_cls.out_channels = channels
        for parameter in self.gfl_cls.parameters():
            parameter.data = parameter.data.new_zeros(channels, *parameter.shape[1:])
            parameter.grad = None
        return [f'{prefix}gfl_cls: {channels} channels, as the checkpoint has, instead of {before}']

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for note in self.adapt_state_dict(state_dict, prefix):
            print_log(note, 'current')
        super()._load_from_state_dict(state_dict, prefix, *args)
