"""CSPNeXt, the backbone of RTMDet (arXiv 2212.07784): cross-stage partial layers with 5x5 depthwise convolutions and channel attention."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from torch import nn

from mmdet.registry import MODELS

from ..layers.csp_layer import KAIMING_CFG, NORM_CFG, SILU_CFG
from .csp_darknet import CSPBackbone, Stage


@MODELS.register_module()
class CSPNeXt(CSPBackbone):
    """Backbone of RTMDet.

    Args:
        expand_ratio: channels of each half of a CSP layer, as a share of its output.
        spp_kernel_sizes: windows of the pyramid pooling.
        channel_attention: whether the CSP layers have channel attention.
        arch, deepen_factor, widen_factor, out_indices, frozen_stages, use_depthwise, arch_ovewrite, conv_cfg, norm_cfg, act_cfg, norm_eval,
            init_cfg: see :class:`~mmdet.models.backbones.csp_darknet.CSPDarknet`, also for errors.
    """

    arch_settings = {
        'P5': [(64, 128, 3, True, False), (128, 256, 6, True, False), (256, 512, 6, True, False), (512, 1024, 3, False, True)],
        'P6': [
            (64, 128, 3, True, False), (128, 256, 6, True, False), (256, 512, 6, True, False), (512, 768, 3, True, False),
            (768, 1024, 3, False, True),
        ],
    }  # fmt: skip

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        arch_ovewrite: list[Stage] | None = None,
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SILU_CFG,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = KAIMING_CFG,
    ):
        csp_cfg = dict(expand_ratio=expand_ratio, use_cspnext_block=True, channel_attention=channel_attention)
        super().__init__(
            arch=arch, deepen_factor=deepen_factor, widen_factor=widen_factor, out_indices=out_indices, frozen_stages=frozen_stages,
            use_depthwise=use_depthwise, arch_ovewrite=arch_ovewrite, spp_kernel_sizes=spp_kernel_sizes, csp_cfg=csp_cfg,
            conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, norm_eval=norm_eval, init_cfg=init_cfg,
        )  # fmt: skip

    def _stem(self, channels: int, widen_factor: float, options: dict) -> nn.Module:
        half, full = int(channels * widen_factor // 2), int(channels * widen_factor)
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **options),
            ConvModule(half, half, 3, padding=1, **options),
            ConvModule(half, full, 3, padding=1, **options),
        )
