"""What anchors and points of all pyramid levels have in common.

Naming: A priors per location, L levels, (H, W) size of a level's feature map. Strides are (w, h) pairs.
"""

import functools
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.errors import ArgumentError

Device = str | torch.device

# Grids kept in the cache: a run meets the same few input sizes again and again, and building a grid costs more than looking it up.
_CACHED_GRIDS = 256


def stride_pairs(strides: Sequence[int | Sequence[int]]) -> list[tuple[int, int]]:
    """(w, h) of every level; one number stands for both."""
    pairs = []
    for stride in strides:
        width, height = stride if isinstance(stride, Sequence) else (stride, stride)
        pairs.append((width, height))
    return pairs


def grid_shifts(
    height: int, width: int, stride: tuple[float, float], dtype: torch.dtype, device: Device, offset: float = 0.0
) -> Tensor:
    """(H * W, 2) x, y of (column + offset, row + offset) times the stride, x fastest."""
    xs = (torch.arange(width, device=device, dtype=dtype) + offset) * stride[0]
    ys = (torch.arange(height, device=device, dtype=dtype) + offset) * stride[1]
    shift_y, shift_x = torch.meshgrid(ys, xs, indexing='ij')
    return torch.stack([shift_x, shift_y], dim=-1).reshape(-1, 2)


def quotient(dividend: Tensor, divisor: Any) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of integers that are not negative.

    By truncation: one division in ONNX, where rounding to the floor becomes a chain of comparisons of signs.
    """
    whole = torch.div(dividend, divisor, rounding_mode='trunc')
    return whole, dividend - whole * divisor


def cell_shifts(
    cells: Tensor, width: int, stride: tuple[float, float], dtype: torch.dtype, offset: float = 0.0
) -> Tensor:
    """Rows ``cells`` (...) of :func:`grid_shifts` by arithmetic, so that a traced graph holds no grid of one size: (..., 2)."""
    row, column = quotient(cells, width)
    x, y = ((place.to(dtype) + offset) * step for place, step in zip((column, row), stride))
    return torch.stack([x, y], dim=-1)


def grid_flags(featmap_size: Sequence[int], valid_size: Sequence[int], repeats: int, device: Device) -> Tensor:
    """Bool (H * W * repeats,): the cells of the first rows and columns, ``valid_size`` (rows, columns) of them.

    Raises:
        ArgumentError: more are valid than there are.
    """
    (height, width), (rows, columns) = featmap_size, valid_size
    if rows > height or columns > width:
        raise ArgumentError(f'must be within the map ({height}, {width})', field='valid_size', received=(rows, columns))
    in_rows, in_columns = torch.arange(height, device=device) < rows, torch.arange(width, device=device) < columns
    return (in_rows[:, None] & in_columns).flatten().repeat_interleave(repeats)


def rectangle_cells(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The cells of rectangles, all at once.

    Args:
        first, last: (n, 2) int64 column and row of the corner cells, both included; nothing is in a rectangle whose last lies before its first.

    Returns:
        index (m,) of the rectangle of each cell, and cells (m, 2) column and row, row by row.

    >>> rectangle_cells(torch.tensor([[0, 0], [5, 7]]), torch.tensor([[-1, 3], [6, 8]]))[1].tolist()
    [[5, 7], [6, 7], [5, 8], [6, 8]]
    """
    sides = (last - first + 1).clamp(min=0)
    areas = sides.prod(1)
    owner = torch.arange(len(first), device=first.device).repeat_interleave(areas)
    place = torch.arange(len(owner), device=first.device) - (areas.cumsum(0) - areas)[owner]
    width = sides[owner, 0]
    return owner, first[owner] + torch.stack([place % width, place.div(width, rounding_mode='floor')], dim=1)


class PriorGrid(metaclass=ABCMeta):
    """The same priors at every cell of a grid, for each level.

    Attributes:
        strides: (w, h) per level.
    """

    strides: list[tuple[int, int]]

    @staticmethod
    def _meshgrid(x: Tensor, y: Tensor, row_major: bool = True) -> tuple[Tensor, Tensor]:
        """For subclasses: x and y of the cells of a grid, flat, row by row; with ``row_major=False`` y and x in this order."""
        xs, ys = x.repeat(len(y)), y.repeat_interleave(len(x))
        return (xs, ys) if row_major else (ys, xs)

    @property
    @abstractmethod
    def num_base_priors(self) -> list[int]:
        """Priors per location, for each level."""

    @abstractmethod
    def _build_grid(self, *args: Any) -> Tensor:
        """Priors of one level, to be cached by the arguments."""

    def _grid(self, *args: Any) -> Tensor:
        # Tensors of a graph being traced, or without values, must not outlive the trace.
        return (self._build_grid if torch.compiler.is_compiling() else self._cached_grid)(*args)

    @functools.cached_property
    def _cached_grid(self) -> Callable[..., Tensor]:
        return functools.lru_cache(maxsize=_CACHED_GRIDS)(self._build_grid)

    # The cache holds a bound method of this object and cannot be copied: a copy, also one made by unpickling, gets its own.
    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != '_cached_grid'}

    @property
    def num_levels(self) -> int:
        """Number of pyramid levels L."""
        return len(self.strides)

    def _check_levels(self, featmap_sizes: Sequence[tuple[int, int]]) -> None:
        if len(featmap_sizes) != self.num_levels:
            message = f'one feature map per stride ({self.num_levels}) is needed'
            raise ArgumentError(message, field='featmap_sizes', received=len(featmap_sizes))

    def valid_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], pad_shape: Sequence[int], device: Device = 'cuda'
    ) -> list[Tensor]:
        """Which priors belong to a grid cell that begins inside the image, before this is padded to the size of the batch.

        Args:
            featmap_sizes: (H, W) per level.
            pad_shape: (height, width, ...) in pixels of the image, with the padding of its own pipeline if there is one.
            device: device of the result.

        Returns:
            per level, bool (H * W * A,).
        """
        self._check_levels(featmap_sizes)
        flags = []
        for (height, width), (stride_w, stride_h), num_base in zip(featmap_sizes, self.strides, self.num_base_priors):
            valid = min(height, -(-pad_shape[0] // stride_h)), min(width, -(-pad_shape[1] // stride_w))
            flags.append(grid_flags((height, width), valid, num_base, device))
        return flags
