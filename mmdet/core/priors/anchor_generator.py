"""Anchors on the grid of every pyramid level.

Naming: A base anchors per location, L levels, (H, W) size of a level's feature map. Strides are (w, h) pairs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import TASK_UTILS

Device = str | torch.device

# Grids kept in the cache: a run meets the same few input sizes again and again, and building a grid costs more than looking it up.
_CACHED_GRIDS = 256


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    width, height = value if isinstance(value, Sequence) else (value, value)
    return width, height


@TASK_UTILS.register_module()
class AnchorGenerator:
    """Anchors on a regular grid; those of cell (0, 0) are centred at ``center_offset * base size``.

    Args:
        strides: per level, an int or a (w, h) pair.
        ratios: height / width of the anchors.
        scales: anchor side = scale * base size; give this or the octave pair below.
        base_sizes: per level; by default the smaller of the two strides.
        scale_major: order of the A base anchors: True lists all scales of the first ratio, then those of the second; False lists all
            ratios of the first scale, then those of the second.
        octave_base_scale: with ``scales_per_octave`` n: scales base * 2^(i / n), i < n (RetinaNet).
        scales_per_octave: see ``octave_base_scale``.
        centers: explicit centre (x, y) per level instead of ``center_offset``.
        center_offset: 0 puts the first anchor on the image corner, 0.5 on the middle of the first cell.
        use_box_type: accepted for configs of mmdetection 3.x; boxes are always plain tensors.

    Raises:
        ConfigError: scales given twice or not at all, or lists of unequal length.

    >>> AnchorGenerator(strides=[10], ratios=[1.0], scales=[1.0], base_sizes=[10]).grid_priors([(1, 2)], device='cpu')[0]
    tensor([[-5., -5.,  5.,  5.],
            [ 5., -5., 15.,  5.]])
    """

    _inclusive = 0  # 1 where corners are inclusive pixels, so that a box is x2 - x1 + 1 wide, as in mmdetection 1.x

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[int] | None = None,
        scale_major: bool = True,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[tuple[float, float]] | None = None,
        center_offset: float = 0.0,
        use_box_type: bool = False,
    ):
        if center_offset and centers is not None:
            raise ConfigError('give centers or center_offset, not both', field='AnchorGenerator')
        if not 0 <= center_offset <= 1:
            raise ConfigError('must be in [0, 1]', field='AnchorGenerator.center_offset', received=center_offset)
        octave_scales = None
        if octave_base_scale is not None and scales_per_octave is not None:
            octave_scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        if (octave_scales is None) == (scales is None):
            raise ConfigError(
                'give either scales, or both octave_base_scale and scales_per_octave', field='AnchorGenerator',
                received=dict(scales=scales, octave_base_scale=octave_base_scale, scales_per_octave=scales_per_octave),
            )  # fmt: skip
        self.strides = [_pair(stride) for stride in strides]
        self.base_sizes = [min(stride) for stride in self.strides] if base_sizes is None else list(base_sizes)
        if len(self.base_sizes) != len(self.strides):
            raise ConfigError(
                f'must have one entry per stride ({len(self.strides)})', field='base_sizes', received=base_sizes
            )
        self.octave_base_scale = octave_base_scale
        self.scales = torch.tensor(octave_scales if scales is None else scales, dtype=torch.float32)
        self.ratios = torch.tensor(ratios, dtype=torch.float32)
        self.scale_major = scale_major
        self.centers = centers
        self.center_offset = center_offset
        self.base_anchors = [self._base_anchors(level) for level in range(self.num_levels)]  # L x (A, 4)

    @functools.cached_property
    def _grid(self) -> Callable[..., Tensor]:
        return functools.lru_cache(maxsize=_CACHED_GRIDS)(self._build_grid)

    # The cache holds a bound method of this object and cannot be copied: a copy, also one made by unpickling, gets its own.
    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != '_grid'}

    @property
    def num_levels(self) -> int:
        """Number of pyramid levels L."""
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per location, for each level."""
        return [len(anchors) for anchors in self.base_anchors]

    def _base_anchors(self, level: int) -> Tensor:
        size = self.base_sizes[level]

        def half_sides(ratios: Tensor) -> Tensor:  # (A,)
            outer, inner = (ratios, self.scales) if self.scale_major else (self.scales, ratios)
            return 0.5 * ((size * outer[:, None] * inner).flatten() - self._inclusive)

        h_ratios = self.ratios.sqrt()
        half_w, half_h = half_sides(1 / h_ratios), half_sides(h_ratios)
        offset = self.center_offset * (size - self._inclusive)
        x, y = (offset, offset) if self.centers is None else self.centers[level]
        return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], dim=-1)  # (A, 4)

    def _build_grid(self, height: int, width: int, level: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        stride_w, stride_h = self.strides[level]
        xs = torch.arange(width, device=device, dtype=dtype) * stride_w
        ys = torch.arange(height, device=device, dtype=dtype) * stride_h
        shift_y, shift_x = torch.meshgrid(ys, xs, indexing='ij')
        shifts = torch.stack([shift_x, shift_y, shift_x, shift_y], dim=-1).reshape(-1, 1, 4)  # (H * W, 1, 4)
        return (shifts + self.base_anchors[level].to(device=device, dtype=dtype)).reshape(-1, 4)

    def single_level_grid_priors(
        self, featmap_size: tuple[int, int], level_idx: int, dtype: torch.dtype = torch.float32, device: Device = 'cuda'
    ) -> Tensor:
        """Anchors of one level: (H * W * A, 4) xyxy in input pixels, x fastest. Shared: do not write into the result."""
        height, width = featmap_size
        return self._grid(int(height), int(width), level_idx, dtype, torch.device(device))

    def grid_priors(
        self, featmap_sizes: Sequence[tuple[int, int]], dtype: torch.dtype = torch.float32, device: Device = 'cuda'
    ) -> list[Tensor]:
        """Anchors of all levels; ``featmap_sizes`` is a (H, W) pair per level. See :meth:`single_level_grid_priors`."""
        if len(featmap_sizes) != self.num_levels:
            raise ModelInputError(
                f'one feature map per stride ({self.num_levels}) is needed', field='featmap_sizes',
                received=len(featmap_sizes),
            )  # fmt: skip
        return [self.single_level_grid_priors(size, i, dtype, device) for i, size in enumerate(featmap_sizes)]

    def sparse_priors(
        self, prior_idxs: Tensor, featmap_size: tuple[int, int], level_idx: int, dtype: torch.dtype = torch.float32,
        device: Device = 'cuda',
    ) -> Tensor:  # fmt: skip
        """Rows ``prior_idxs`` (N,) of :meth:`single_level_grid_priors`: (N, 4)."""
        return self.single_level_grid_priors(featmap_size, level_idx, dtype, device)[prior_idxs]

    def valid_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], pad_shape: Sequence[int], device: Device = 'cuda'
    ) -> list[Tensor]:
        """Which anchors belong to a grid cell that begins inside the image, before this is padded to the size of the batch.

        Args:
            featmap_sizes: (H, W) per level.
            pad_shape: (height, width, ...) in pixels of the image, with the padding of its own pipeline if there is one.
            device: device of the result.

        Returns:
            per level, bool (H * W * A,).
        """
        flags = []
        for (height, width), (stride_w, stride_h), num_base in zip(featmap_sizes, self.strides, self.num_base_priors):
            rows = torch.arange(height, device=device) < -(-pad_shape[0] // stride_h)
            columns = torch.arange(width, device=device) < -(-pad_shape[1] // stride_w)
            flags.append((rows[:, None] & columns).flatten().repeat_interleave(num_base))
        return flags

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(strides={self.strides}, ratios={self.ratios.tolist()}, scales={self.scales.tolist()}, '
            f'base_sizes={self.base_sizes}, center_offset={self.center_offset})'
        )


@TASK_UTILS.register_module()
class LegacyAnchorGenerator(AnchorGenerator):
    """Anchors of mmdetection 1.x: pixel centres at (stride - 1) / 2 with ``center_offset=0.5``, rounded inclusive corners.

    >>> LegacyAnchorGenerator(strides=[8], ratios=[1.0], scales=[8], center_offset=0.5).base_anchors[0]
    tensor([[-28., -28.,  35.,  35.]])
    """

    _inclusive = 1

    def _base_anchors(self, level: int) -> Tensor:
        return super()._base_anchors(level).round()
