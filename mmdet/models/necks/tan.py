"""Transformer attention neck of NanoDet-t: the levels meet in one encoder at the size of the middle one (RangiLyu/nanodet)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ModelInputError
from mmdet.registry import MODELS

from ..backbones.custom_csp_net import LEAKY_CFG


class _MLP(nn.Module):
    def __init__(self, channels: int, hidden: int, dropout: float):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.act, self.drop = nn.LeakyReLU(LEAKY_CFG['negative_slope'], inplace=True), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class _Encoder(nn.Module):
    """A transformer layer whose norms come first: (N, B, channels) to the same."""

    def __init__(self, channels: int, num_heads: int, mlp_ratio: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = nn.MultiheadAttention(channels, num_heads, dropout)
        self.mlp = _MLP(channels, channels * mlp_ratio, dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class _Transformer(nn.Module):
    def __init__(self, levels: int, channels: int, num_heads: int, num_encoders: int, mlp_ratio: int, dropout: float):
        super().__init__()
        self.conv = ConvModule(levels * channels, channels, 1, norm_cfg=None)
        # Published checkpoints have it; nothing uses it.
        self.linear = nn.Linear(channels, channels).requires_grad_(False)
        self.encoders = nn.Sequential(*(_Encoder(channels, num_heads, mlp_ratio, dropout) for _ in range(num_encoders)))

    def forward(self, x: Tensor, pos_embed: Tensor) -> Tensor:
        x = self.conv(x)
        sequence = self.encoders(x.flatten(2).permute(2, 0, 1) + pos_embed)
        return sequence.permute(1, 2, 0).reshape(x.shape)


@MODELS.register_module()
class TAN(BaseModule):
    """Laterals, and what an encoder makes of all of them, added to each.

    Args:
        in_channels: channels of three maps, finest first.
        out_channels: channels of every output.
        feature_hw: (H, W) of the middle map; its positions are learnt, so that images have one size.
        num_heads, num_encoders, mlp_ratio, dropout: of the transformer.
        norm_cfg, act_cfg: norm and activation of the laterals.
        init_cfg: initialisation; Xavier uniform by default.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        feature_hw: tuple[int, int] = (20, 20),
        num_heads: int = 8,
        num_encoders: int = 1,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006  never written to
        act_cfg: dict = LEAKY_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        self.feature_hw = tuple(feature_hw)
        self.lateral_convs = nn.ModuleList(
            ConvModule(width, out_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg) for width in in_channels
        )
        self.transformer = _Transformer(len(in_channels), out_channels, num_heads, num_encoders, mlp_ratio, dropout)
        self.pos_embed = nn.Parameter(torch.zeros(feature_hw[0] * feature_hw[1], 1, out_channels))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[l], H_l, W_l) to maps (B, out_channels, H_l, W_l).

        Raises:
            ModelInputError: the middle map is not of the size ``feature_hw``.
        """
        levels = [conv(level) for conv, level in zip(self.lateral_convs, inputs, strict=True)]
        size = tuple(levels[len(levels) // 2].shape[-2:])
        if size != self.feature_hw:
            message = f'the middle map must be {self.feature_hw}: the positions of this neck are of one size of image'
            raise ModelInputError(message, field='neck.feature_hw', received=size)

        def resized(x: Tensor, size: Sequence[int]) -> Tensor:
            return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=False)

        mixed = self.transformer(torch.cat([resized(level, size) for level in levels], dim=1), self.pos_embed)
        return tuple(level + resized(mixed, level.shape[-2:]) for level in levels)
