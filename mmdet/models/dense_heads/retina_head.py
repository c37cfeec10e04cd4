"""Head of RetinaNet (Lin et al., ICCV 2017, arXiv 1708.02002).

Naming: A anchors of a location, K class channels and D box channels of an anchor.
"""

from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from mmdet.registry import MODELS

from .anchor_head import AnchorHead


@MODELS.register_module()
class RetinaHead(AnchorHead):
    """A class tower and a box tower of convolutions, shared by the levels; nine anchors a location.

    Args:
        num_classes, in_channels: see :class:`AnchorHead`.
        stacked_convs: number of convolutions of each tower.
        conv_cfg: config of the towers' convolutions.
        norm_cfg: config of the towers' normalisation; None for none, as in the paper.
        anchor_generator: by default three sizes, an octave apart in three steps, and three ratios.
        init_cfg: by default N(0, 0.01), and a class bias for a prior probability of 0.01.
        **kwargs: further arguments of :class:`AnchorHead`.
    """

    _default_anchors = dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0],
        strides=[8, 16, 32, 64, 128],
    )
    class_predictor = 'retina_cls'
    _default_init_cfg = dict(
        type='Normal',
        layer='Conv2d',
        std=0.01,
        override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        anchor_generator: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        self.stacked_convs, self.conv_cfg, self.norm_cfg = stacked_convs, conv_cfg, norm_cfg
        super().__init__(num_classes, in_channels, anchor_generator=anchor_generator, init_cfg=init_cfg, **kwargs)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        cls_channels = self.num_base_priors * self.cls_out_channels
        self.retina_cls = nn.Conv2d(self._tower_channels, cls_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(self._tower_channels, self.num_base_priors * self._box_channels, 3, padding=1)

    def forward_single(self, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        """Class scores (B, A K, H, W) and box deltas (B, A D, H, W) of one level."""
        cls_feat, reg_feat = self.forward_towers(x)
        return self.retina_cls(cls_feat), self.retina_reg(reg_feat)
