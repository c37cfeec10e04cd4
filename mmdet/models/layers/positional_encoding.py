"""Sine waves that tell a transformer where in a map a vector lies (Carion et al., "DETR", arXiv 2005.12872).

Naming: B images, T frames; places are counted from 1, those under the mask not at all.
"""

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .transformer.utils import waves


@MODELS.register_module()
class SinePositionalEncoding(BaseModule):
    """Waves of the row and of the column of each place.

    Args:
        num_feats: length of the code of one axis.
        temperature: the longest period over the shortest.
        normalize: divide the places by their number, and multiply them by ``scale``.
        scale, eps: factor and smallest divisor of normalised places.
        offset: added to places before the division.
        init_cfg: not used; there are no parameters.
    """

    def __init__(
        self,
        num_feats: int,
        temperature: int = 10000,
        normalize: bool = False,
        scale: float = 2 * math.pi,
        eps: float = 1e-6,
        offset: float = 0.0,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if normalize and not isinstance(scale, (int, float)):
            raise ArgumentError('must be a number where normalize is set', field='scale', received=scale)
        self.num_feats, self.temperature, self.normalize = num_feats, temperature, normalize
        self.scale, self.eps, self.offset = scale, eps, offset

    def _places(self, seen: Tensor, dim: int) -> Tensor:
        places = seen.cumsum(dim, dtype=torch.float32)
        if not self.normalize:
            return places
        return (places + self.offset) / (places.select(dim, -1).unsqueeze(dim) + self.eps) * self.scale

    def forward(self, mask: Tensor | None, input: Tensor | None = None) -> Tensor:
        """Code of a map.

        Args:
            mask: (B, H, W), true where there is no image.
            input: (B, C, H, W), instead of a mask.

        Returns:
            (B, 2 num_feats, H, W), rows before columns.
        """
        if mask is None:
            if input is None:
                raise ArgumentError('a mask or an input is needed')
            mask = input.new_zeros(len(input), *input.shape[2:], dtype=torch.bool)
        seen = mask.to(torch.int) == 0
        parts = [waves(self._places(seen, dim), self.num_feats, self.temperature) for dim in (1, 2)]
        return torch.cat(parts, dim=3).permute(0, 3, 1, 2)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_feats={self.num_feats}, temperature={self.temperature}, '
            f'normalize={self.normalize}, scale={self.scale}, eps={self.eps})'
        )


@MODELS.register_module()
class SinePositionalEncoding3D(SinePositionalEncoding):
    """:class:`SinePositionalEncoding` of clips: the code of the frame, of length ``2 num_feats``, is added to that of the place."""

    def forward(self, mask: Tensor) -> Tensor:  # type: ignore[override]
        """(B, T, H, W), true where there is no image, to (B, T, 2 num_feats, H, W)."""
        seen = mask.to(torch.int) == 0
        parts = [waves(self._places(seen, dim), self.num_feats, self.temperature) for dim in (2, 3)]
        frame = waves(self._places(seen, 1), 2 * self.num_feats, self.temperature)
        return (torch.cat(parts, dim=4) + frame).permute(0, 1, 4, 2, 3)
