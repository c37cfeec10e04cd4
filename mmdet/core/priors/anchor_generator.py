"""Anchors on the grid of every pyramid level.

Naming: A base anchors per location, L levels, (H, W) size of a level's feature map. Strides are (w, h) pairs.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.core.boxes import HorizontalBoxes
from mmdet.errors import ArgumentError, ConfigError
from mmdet.registry import TASK_UTILS
from mmdet.utils.tracing import is_exporting

from .grid import Device, PriorGrid, cell_shifts, grid_flags, grid_shifts, quotient, stride_pairs


@TASK_UTILS.register_module()
class AnchorGenerator(PriorGrid):
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
        use_box_type: whether :meth:`grid_priors` returns ``HorizontalBoxes`` instead of tensors.

    Raises:
        ConfigError: ``center_offset`` outside [0, 1].
        ArgumentError: scales given twice or not at all, lists of unequal length, or two kinds of centres.

    >>> AnchorGenerator(strides=[10], ratios=[1.0], scales=[1.0], base_sizes=[10]).grid_priors([(1, 2)], device='cpu')[0]
    tensor([[-5., -5.,  5.,  5.],
            [ 5., -5., 15.,  5.]])
    """

    # Subclasses hold them level by level.
    base_sizes: Any
    scales: Any
    ratios: Any
    centers: Any
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
            raise ArgumentError('give centers or center_offset, not both', field='AnchorGenerator')
        if not 0 <= center_offset <= 1:
            raise ConfigError('must be in [0, 1]', field='AnchorGenerator.center_offset', received=center_offset)
        octave_scales = None
        if octave_base_scale is not None and scales_per_octave is not None:
            octave_scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        if (octave_scales is None) == (scales is None):
            raise ArgumentError(
                'give either scales, or both octave_base_scale and scales_per_octave', field='AnchorGenerator',
                received=dict(scales=scales, octave_base_scale=octave_base_scale, scales_per_octave=scales_per_octave),
            )  # fmt: skip
        self.strides = stride_pairs(strides)
        self.base_sizes = [min(stride) for stride in self.strides] if base_sizes is None else list(base_sizes)
        if len(self.base_sizes) != len(self.strides):
            raise ArgumentError(
                f'must have one entry per stride ({len(self.strides)})', field='base_sizes', received=base_sizes
            )
        self.octave_base_scale, self.scales_per_octave = octave_base_scale, scales_per_octave
        self.scales = torch.tensor(octave_scales if scales is None else scales, dtype=torch.float32)
        self.ratios = torch.tensor(ratios, dtype=torch.float32)
        self.scale_major = scale_major
        self.centers = centers
        self.center_offset = center_offset
        self.use_box_type = use_box_type
        self.base_anchors = self.gen_base_anchors()  # L x (A, 4)

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per location, for each level."""
        return [len(anchors) for anchors in self.base_anchors]

    @property
    def num_base_anchors(self) -> list[int]:
        """:attr:`num_base_priors`, by its earlier name."""
        return self.num_base_priors

    def gen_base_anchors(self) -> list[Tensor]:
        """The anchors of cell (0, 0), (A, 4) xyxy for each level."""
        centers = self.centers or [None] * self.num_levels
        return [
            self.gen_single_level_base_anchors(size, self.scales, self.ratios, center)
            for size, center in zip(self.base_sizes, centers)
        ]

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: tuple[float, float] | None = None
    ) -> Tensor:
        """Anchors (A, 4) xyxy of every scale and ratio around ``center``, or around the ``center_offset`` without it."""

        def half_sides(side_ratios: Tensor) -> Tensor:  # (A,)
            outer, inner = (side_ratios, scales) if self.scale_major else (scales, side_ratios)
            return 0.5 * ((base_size * outer[:, None] * inner).flatten() - self._inclusive)

        h_ratios = ratios.sqrt()
        half_w, half_h = half_sides(1 / h_ratios), half_sides(h_ratios)
        offset = self.center_offset * (base_size - self._inclusive)
        x, y = (offset, offset) if center is None else center
        return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], dim=-1)  # (A, 4)

    def _build_grid(self, height: int, width: int, level: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        base_anchors = self.base_anchors[level].to(device=device, dtype=dtype)
        return self.single_level_grid_anchors(base_anchors, (height, width), self.strides[level], device)

    def single_level_grid_anchors(
        self,
        base_anchors: Tensor,
        featmap_size: tuple[int, int],
        stride: tuple[int, int] = (16, 16),
        device: Device = 'cuda',
    ) -> Tensor:
        """Given anchors (A, 4) xyxy at every cell of a grid: (H * W * A, 4)."""
        height, width = featmap_size
        shifts = grid_shifts(height, width, stride, base_anchors.dtype, device).tile(2)[:, None]  # (H * W, 1, 4)
        return (shifts + base_anchors.to(device)).reshape(-1, 4)

    def single_level_grid_priors(
        self, featmap_size: tuple[int, int], level_idx: int, dtype: torch.dtype = torch.float32, device: Device = 'cuda'
    ) -> Any:
        """Anchors of one level: (H * W * A, 4) xyxy in input pixels, x fastest. Shared: do not write into the result."""
        height, width = featmap_size
        if is_exporting():
            rows = torch.arange(height * width * len(self.base_anchors[level_idx]), device=device)
            anchors = self.sparse_priors(rows, featmap_size, level_idx, dtype, device)
        else:
            anchors = self._grid(int(height), int(width), level_idx, dtype, torch.device(device))
        return HorizontalBoxes(anchors, clone=False) if self.use_box_type else anchors

    def grid_priors(
        self, featmap_sizes: Sequence[tuple[int, int]], dtype: torch.dtype = torch.float32, device: Device = 'cuda'
    ) -> list[Any]:
        """Anchors of all levels; ``featmap_sizes`` is a (H, W) pair per level. See :meth:`single_level_grid_priors`."""
        self._check_levels(featmap_sizes)
        return [self.single_level_grid_priors(size, i, dtype, device) for i, size in enumerate(featmap_sizes)]

    def grid_anchors(self, featmap_sizes: Sequence[tuple[int, int]], device: Device = 'cuda') -> list[Tensor]:
        """Anchors of all levels as tensors of their own, by the earlier name of :meth:`grid_priors`."""
        self._check_levels(featmap_sizes)
        levels = zip(self.base_anchors, featmap_sizes, self.strides)
        return [self.single_level_grid_anchors(base, size, stride, device) for base, size, stride in levels]

    def sparse_priors(
        self, prior_idxs: Tensor, featmap_size: tuple[int, int], level_idx: int, dtype: torch.dtype = torch.float32,
        device: Device = 'cuda',
    ) -> Tensor:  # fmt: skip
        """Rows ``prior_idxs`` (...) of :meth:`single_level_grid_priors`, computed without the others: (..., 4)."""
        base_anchors = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        if len(base_anchors) == 1:
            cells, anchors = prior_idxs, base_anchors[0]
        else:
            cells, places = quotient(prior_idxs, len(base_anchors))
            anchors = base_anchors[places]
        shifts = cell_shifts(cells, featmap_size[1], self.strides[level_idx], dtype)
        return torch.cat([shifts, shifts], dim=-1) + anchors

    def single_level_valid_flags(
        self,
        featmap_size: tuple[int, int],
        valid_size: tuple[int, int],
        num_base_anchors: int,
        device: Device = 'cuda',
    ) -> Tensor:
        """Bool (H * W * A,): the anchors of the first (rows, columns) of the grid."""
        return grid_flags(featmap_size, valid_size, num_base_anchors, device)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(strides={self.strides}, ratios={_shown(self.ratios)}, scales={_shown(self.scales)}, '
            f'base_sizes={self.base_sizes}, center_offset={self.center_offset})'
        )


@TASK_UTILS.register_module()
class LegacyAnchorGenerator(AnchorGenerator):
    """Anchors of mmdetection 1.x: pixel centres at (stride - 1) / 2 with ``center_offset=0.5``, rounded inclusive corners.

    >>> LegacyAnchorGenerator(strides=[8], ratios=[1.0], scales=[8], center_offset=0.5).base_anchors[0]
    tensor([[-28., -28.,  35.,  35.]])
    """

    _inclusive = 1

    def gen_single_level_base_anchors(self, *args: Any, **kwargs: Any) -> Tensor:
        """See :meth:`AnchorGenerator.gen_single_level_base_anchors`; rounded."""
        return super().gen_single_level_base_anchors(*args, **kwargs).round()


def _shown(values: Tensor | list[Tensor]) -> list:
    return values.tolist() if isinstance(values, Tensor) else [level.tolist() for level in values]


# Sides of the smallest SSD anchors in per cent of the input, by its size and the smallest side of the second level (SSD's configs for COCO and VOC).
_SSD_FIRST_LEVEL = {(300, 0.15): (7, 15), (300, 0.2): (10, 20), (512, 0.1): (4, 10), (512, 0.15): (7, 15)}


@TASK_UTILS.register_module()
class SSDAnchorGenerator(AnchorGenerator):
    """Anchors of SSD (Liu et al., ECCV 2016): squares of two sides a level, and the other ratios.

    Args:
        strides: per level, an int or a (w, h) pair; the anchors are centred on half of it.
        ratios: per level, the ratios r besides 1; each stands for r and 1 / r.
        min_sizes: per level, the side of the smaller square; without it sides follow from the next two arguments.
        max_sizes: per level, the larger square has the side sqrt(min * max).
        basesize_ratio_range: smallest and largest side from the second level on, as a share of the input.
        input_size: side of the input, 300 or 512.
        scale_major: with True, as SSD's checkpoints have it, one of the other ratios comes in the larger size.
        use_box_type: see :class:`AnchorGenerator`.

    Raises:
        ArgumentError: lists of unequal length.
        ConfigError: no sides are known for the input.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: tuple[float, float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = True,
        use_box_type: bool = False,
    ):
        self.strides = stride_pairs(strides)
        if (min_sizes is None) != (max_sizes is None):
            raise ArgumentError('give both or none', field='min_sizes, max_sizes', received=(min_sizes, max_sizes))
        if min_sizes is None or max_sizes is None:
            min_sizes, max_sizes = self._sides(basesize_ratio_range, input_size)
        lengths = len(self.strides), len(ratios), len(min_sizes), len(max_sizes)
        if len(set(lengths)) > 1:
            message = 'one entry per stride is needed'
            raise ArgumentError(message, field='strides, ratios, min_sizes, max_sizes', received=lengths)
        self.input_size, self.basesize_ratio_range = input_size, basesize_ratio_range
        self.min_sizes, self.max_sizes, self.base_sizes = min_sizes, max_sizes, min_sizes
        self.scale_major, self.center_offset, self.use_box_type = scale_major, 0, use_box_type
        self.octave_base_scale = self.scales_per_octave = None
        self.centers = [(width / 2.0, height / 2.0) for width, height in self.strides]
        self.scales = [torch.tensor([1.0, math.sqrt(high / low)]) for low, high in zip(min_sizes, max_sizes)]
        self.ratios = [torch.tensor([1.0, *(x for r in level for x in (1 / r, r))]) for level in ratios]
        self.base_anchors = self.gen_base_anchors()

    def _sides(self, ratio_range: tuple[float, float], input_size: int) -> tuple[list[int], list[int]]:
        first = _SSD_FIRST_LEVEL.get((input_size, ratio_range[0]))
        if first is None:
            message = f'without min_sizes and max_sizes (input_size, basesize_ratio_range[0]) must be one of {sorted(_SSD_FIRST_LEVEL)}'
            raise ConfigError(message, received=(input_size, ratio_range[0]))
        low, high = int(ratio_range[0] * 100), int(ratio_range[1] * 100)
        step = (high - low) // (self.num_levels - 2)
        sides = [int(input_size * percent / 100) for percent in range(low, high + step + 1, step)]
        smallest, second = (int(input_size * percent / 100) for percent in first)
        count = self.num_levels - 1
        return [smallest, *sides[:count]], [second, *sides[1 : count + 1]]

    def gen_base_anchors(self) -> list[Tensor]:
        """The anchors of cell (0, 0), (A, 4) xyxy for each level: both squares, then the other ratios."""
        levels = []
        for size, scales, ratios, center in zip(self.base_sizes, self.scales, self.ratios, self.centers):
            anchors = self.gen_single_level_base_anchors(size, scales, ratios, center)
            count = len(ratios)
            levels.append(anchors[[0, count, *range(1, count)]])
        return levels


@TASK_UTILS.register_module()
class YOLOAnchorGenerator(AnchorGenerator):
    """Anchors of given sizes around the middle of each cell (YOLOv2, CVPR 2017).

    Args:
        strides: per level, an int or a (w, h) pair.
        base_sizes: per level, (w, h) of its anchors in pixels.
        use_box_type: see :class:`AnchorGenerator`.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        base_sizes: Sequence[Sequence[tuple[int, int]]],
        use_box_type: bool = False,
    ):
        self.strides = stride_pairs(strides)
        if len(base_sizes) != len(self.strides):
            message = f'must have one entry per stride ({len(self.strides)})'
            raise ArgumentError(message, field='base_sizes', received=base_sizes)
        self.base_sizes = [stride_pairs(level) for level in base_sizes]
        self.centers = [(width / 2.0, height / 2.0) for width, height in self.strides]
        self.use_box_type = use_box_type
        self.base_anchors = self.gen_base_anchors()

    def gen_base_anchors(self) -> list[Tensor]:
        """The anchors of cell (0, 0), (A, 4) xyxy for each level."""
        return [self.gen_single_level_base_anchors(*level) for level in zip(self.base_sizes, self.centers)]

    def gen_single_level_base_anchors(  # type: ignore[override]  # sizes stand in place of scales and ratios
        self, base_sizes_per_level: Sequence[tuple[int, int]], center: tuple[float, float] | None = None
    ) -> Tensor:
        """Anchors (A, 4) xyxy of the sizes (w, h) around a point."""
        sizes, middle = torch.tensor(base_sizes_per_level, dtype=torch.float32), torch.tensor(center or (0.0, 0.0))
        return torch.cat([middle - 0.5 * sizes, middle + 0.5 * sizes], dim=1)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(strides={self.strides}, base_sizes={self.base_sizes})'
