"""Points on the grid of every pyramid level.

Naming: L levels, (H, W) size of a level's feature map. Strides are (w, h) pairs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet.registry import TASK_UTILS

from .grid import Device, PriorGrid, cell_shifts, grid_flags, grid_shifts, stride_pairs


@TASK_UTILS.register_module()
class MlvlPointGenerator(PriorGrid):
    """One point in each cell of the grid of each level.

    Args:
        strides: per level, an int or a (w, h) pair.
        offset: where in its cell a point lies, in strides: 0 in the corner, 0.5 in the middle.

    >>> MlvlPointGenerator([8]).grid_priors([(1, 2)], device='cpu', with_stride=True)[0]
    tensor([[ 4.,  4.,  8.,  8.],
            [12.,  4.,  8.,  8.]])
    """

    def __init__(self, strides: Sequence[int | Sequence[int]], offset: float = 0.5):
        self.strides = stride_pairs(strides)
        self.offset = offset

    @property
    def num_base_priors(self) -> list[int]:
        """Points per location, 1 for each level."""
        return [1] * self.num_levels

    def _build_grid(
        self, height: int, width: int, level: int, dtype: torch.dtype, device: torch.device, with_stride: bool
    ) -> Tensor:
        points = grid_shifts(height, width, self.strides[level], dtype, device, self.offset)
        return (
            torch.cat([points, points.new_tensor(self.strides[level]).expand_as(points)], 1) if with_stride else points
        )

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: Device = 'cuda',
        with_stride: bool = False,
    ) -> Tensor:
        """Points of one level: (H * W, 2) x, y in input pixels, x fastest; (H * W, 4) with (w, h) of the stride if ``with_stride``.

        Shared: do not write into the result.
        """
        height, width = featmap_size
        return self._grid(int(height), int(width), level_idx, dtype, torch.device(device), with_stride)

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: Device = 'cuda',
        with_stride: bool = False,
    ) -> list[Tensor]:
        """Points of all levels; ``featmap_sizes`` is a (H, W) pair per level. See :meth:`single_level_grid_priors`.

        Raises:
            ArgumentError: another number of maps than of levels.
        """
        self._check_levels(featmap_sizes)
        options = (dtype, device, with_stride)
        return [self.single_level_grid_priors(size, i, *options) for i, size in enumerate(featmap_sizes)]

    def sparse_priors(
        self, prior_idxs: Tensor, featmap_size: tuple[int, int], level_idx: int, dtype: torch.dtype = torch.float32,
        device: Device = 'cuda',
    ) -> Tensor:  # fmt: skip
        """Rows ``prior_idxs`` (...) of :meth:`single_level_grid_priors`, computed without the others: (..., 2)."""
        return cell_shifts(prior_idxs, featmap_size[1], self.strides[level_idx], dtype, self.offset)

    def single_level_valid_flags(
        self, featmap_size: tuple[int, int], valid_size: tuple[int, int], device: Device = 'cuda'
    ) -> Tensor:
        """Bool (H * W,): the points of the first (rows, columns) of the grid."""
        return grid_flags(featmap_size, valid_size, 1, device)


@TASK_UTILS.register_module()
class PointGenerator:
    """Points of one map, on the corners of the cells."""

    def grid_points(self, featmap_size: tuple[int, int], stride: int = 16, device: Device = 'cuda') -> Tensor:
        """(H * W, 3) x, y in input pixels, and the stride; x fastest."""
        points = grid_shifts(*featmap_size, (stride, stride), torch.float32, device)
        return torch.cat([points, torch.full_like(points[:, :1], stride)], dim=1)

    def valid_flags(
        self, featmap_size: tuple[int, int], valid_size: tuple[int, int], device: Device = 'cuda'
    ) -> Tensor:
        """Bool (H * W,): the points of the first (rows, columns) of the grid."""
        return grid_flags(featmap_size, valid_size, 1, device)
