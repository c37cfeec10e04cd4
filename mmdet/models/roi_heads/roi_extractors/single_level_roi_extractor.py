"""Features of boxes out of a pyramid.

Naming: B images, L levels, C channels, K boxes (number of the image, then xyxy in pixels), h x w cells of a box.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.ops import RoIAlign
from mmdet.registry import MODELS


class BaseRoIExtractor(BaseModule, metaclass=ABCMeta):
    """A RoIAlign for each level.

    Args:
        roi_layer: ``type``, which must be ``'RoIAlign'``, and its arguments without ``spatial_scale``.
        out_channels: C.
        featmap_strides: pixels per map cell of the levels that are used, finest first.
        init_cfg: accepted; there are no weights.

    Raises:
        ConfigError: another layer.
    """

    def __init__(
        self,
        roi_layer: dict | Config,
        out_channels: int,
        featmap_strides: Sequence[int],
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        options = dict(roi_layer)
        kind = options.pop('type', None)
        if kind != 'RoIAlign':
            raise ConfigError("must be 'RoIAlign'", field='bbox_roi_extractor.roi_layer.type', received=kind)
        self.out_channels, self.featmap_strides = out_channels, list(featmap_strides)
        self.roi_layers = nn.ModuleList(RoIAlign(spatial_scale=1 / stride, **options) for stride in featmap_strides)

    @property
    def num_inputs(self) -> int:
        """L."""
        return len(self.featmap_strides)

    @staticmethod
    def roi_rescale(rois: Tensor, scale_factor: float) -> Tensor:
        """Boxes (K, 5) with sides of so many times their length about the same centres."""
        centers, half = (rois[:, 1:3] + rois[:, 3:]) / 2, (rois[:, 3:] - rois[:, 1:3]) * (scale_factor / 2)
        return torch.cat([rois[:, :1], centers - half, centers + half], dim=1)

    @abstractmethod
    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """L maps (B, C, H_l, W_l) and boxes (K, 5) to (K, C, h, w)."""


@MODELS.register_module()
class SingleRoIExtractor(BaseRoIExtractor):
    """Takes each box from the level of its size (FPN, CVPR 2017, equation 1).

    Args:
        roi_layer, out_channels, featmap_strides: see :class:`BaseRoIExtractor`.
        finest_scale: boxes with sides below twice this number of pixels (square root of the area) are taken from the finest level, those
            twice as large from the next, and so on.
        init_cfg: see there.
    """

    def __init__(
        self,
        roi_layer: dict | Config,
        out_channels: int,
        featmap_strides: Sequence[int],
        finest_scale: int = 56,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(roi_layer, out_channels, featmap_strides, init_cfg)
        self.finest_scale = finest_scale

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """Level (K,) of each box (K, 5)."""
        sides = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        levels = torch.log2(sides / self.finest_scale + 1e-6).floor()
        return levels.nan_to_num(0).clamp(0, num_levels - 1).long()

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """See :class:`BaseRoIExtractor`; boxes grow by ``roi_scale_factor`` after their levels are chosen."""
        feats = feats[: self.num_inputs]
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        rows = [(levels == level).nonzero().squeeze(1) for level in range(len(feats))]
        # A level without boxes gives (0, C, h, w), so that the gradients of all processes come from the same tensors.
        found = [layer(x, rois[own]) for layer, x, own in zip(self.roi_layers, feats, rows)]
        # By a scatter: ONNX has no argsort.
        order = torch.cat(rows)
        return torch.cat(found)[
            torch.empty_like(order).scatter(0, order, torch.arange(order.shape[0], device=order.device))
        ]
