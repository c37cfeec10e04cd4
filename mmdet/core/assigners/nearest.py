"""The priors whose centres are nearest to the centres of boxes.

Priors lie on a grid, so the nearest ones of a box are found in a small window of it instead of among all. What is returned is exactly what the
comparison with all priors returns: wherever a window cannot prove that, because a prior outside it might be as near or because equal distances
leave a choice, the box is compared with all priors of the level.

Naming: P priors, n of them in a level, G boxes, N pairs of a level and a box, m x m cells of a window, k nearest priors.
"""

import dataclasses
import math

import torch
from torch import Tensor

# Prior-to-box distances held at a time: 2**24 float32 values are 64 MiB, so 2,000 boxes on 22,000 priors stay within memory.
_MAX_DISTANCES = 2**24
# Distances of parts of a level held at a time; larger blocks leave the processor's cache.
_MAX_WINDOWS = 2**18
# Rows of at least so many times k values are partially sorted by torch.topk.
_HEAP_LENGTH = 64
_FAR = 1e8
# Rounding of a distance is less than this share of it.
_ROUNDING = 1e-6


def nearest_priors(
    centers: Tensor, num_level_priors: list[int], gt_centers: Tensor, topk: int, ignored: Tensor | None = None
) -> Tensor:
    """The priors of each level that are nearest to each box, at most ``topk`` of a level.

    Which of several equally distant priors are taken, where not all of them can be, is up to ``torch.topk`` over the level.

    Args:
        centers: (P, 2) x, y of the priors, levels one after another.
        num_level_priors: priors of each level, summing to P.
        gt_centers: (G, 2) x, y, G > 0.
        topk: k.
        ignored: (P,) bool, priors that come behind all others.

    Returns:
        (G, C) indices of the priors, one level after another.
    """
    # On a GPU it takes less time to look at all priors than to wait for the answers that the windows need.
    grids = [] if ignored is not None or centers.is_cuda else _find_grids(centers, num_level_priors)
    found = _nearest_in_grids(centers, grids, gt_centers, topk)
    start, nearest = 0, []
    for count in num_level_priors:
        inds = found.get(start) if count else None  # an empty level begins where the next one does
        if inds is None:
            behind = None if ignored is None else ignored[start : start + count]
            inds = _nearest_of_all(centers[start : start + count], gt_centers, topk, behind)
        nearest.append(inds + start)
        start += count
    return torch.cat(nearest, dim=1)


def _nearest_of_all(centers: Tensor, gt_centers: Tensor, topk: int, ignored: Tensor | None = None) -> Tensor:
    """(G, k) indices of the nearest of n centres (n, 2)."""
    nearest = []
    for some in gt_centers.split(max(1, _MAX_DISTANCES // max(1, len(centers)))):
        # Squares, sum, root, each rounded: equal distances then tie exactly as in the reference.
        dx = some[:, :1] - centers[:, 0]  # (g, n)
        dy = some[:, 1:] - centers[:, 1]
        distances = dx.square_().add_(dy.square_()).sqrt_()
        if ignored is not None:
            distances[:, ignored] = _FAR
        nearest.append(distances.topk(min(topk, len(centers)), dim=1, largest=False).indices)
    return torch.cat(nearest)


@dataclasses.dataclass(frozen=True)
class _Grid:
    """The priors of a level that lie row by row on a grid: index of the first one, rows, columns."""

    start: int
    height: int
    width: int


def _find_grids(centers: Tensor, num_level_priors: list[int]) -> list[_Grid]:
    """The levels whose centres form a grid with ascending columns and rows, x fastest."""
    grids, start = [], 0
    for count in num_level_priors:
        x, y = centers[start : start + count].unbind(1)
        width = int((y == y[0]).sum()) if count else 0
        if width and count % width == 0:
            columns, rows = x[:width], y[::width]
            is_grid = (x.view(-1, width) == columns).all() & (y.view(-1, width) == rows[:, None]).all()
            if is_grid & (columns.diff() > 0).all() & (rows.diff() > 0).all():
                grids.append(_Grid(start, count // width, width))
        start += count
    return grids


def _nearest_in_grids(centers: Tensor, grids: list[_Grid], gt_centers: Tensor, topk: int) -> dict[int, Tensor]:
    """(G, k) indices within their level of the nearest priors, by the index of the level's first prior.

    Levels with less rows or columns than a window are left out.
    """
    # For 9 neighbours 4 x 4 cells: inside a grid of squares the ninth is less than 2 columns and rows away, from anywhere. The second size is
    # for boxes at the border of the grid, whose neighbours lie on one side.
    side = math.isqrt(topk - 1) + 2
    grids = [grid for grid in grids if min(grid.height, grid.width) >= side]
    if not grids:
        return {}
    num_gts = len(gt_centers)
    boxes = gt_centers.repeat(len(grids), 1)  # (N, 2)
    start, height, width = (
        torch.tensor([(grid.start, grid.height, grid.width) for grid in grids])
        .repeat_interleave(num_gts, dim=0)
        .unbind(1)
    )
    nearest, sure = _nearest_in_windows(centers, start, height, width, boxes, topk, side)
    for wider in (2 * side + 2,):
        pairs = (~sure & (torch.minimum(height, width) >= wider)).nonzero().squeeze(1)
        if len(pairs):
            options = (start[pairs], height[pairs], width[pairs], boxes[pairs], topk, wider)
            nearest[pairs], sure[pairs] = _nearest_in_windows(centers, *options)

    found = {}
    for grid, inds, certain in zip(grids, nearest.split(num_gts), sure.split(num_gts)):
        open_boxes = (~certain).nonzero().squeeze(1)
        if len(open_boxes):
            level = centers[grid.start : grid.start + grid.height * grid.width]
            inds[open_boxes] = _nearest_in_bands(level, grid.width, gt_centers[open_boxes], topk)
        found[grid.start] = inds
    return found


def _nearest_in_bands(centers: Tensor, width: int, gt_centers: Tensor, topk: int) -> Tensor:
    """What :func:`_nearest_of_all` returns for the centres (n, 2) of a grid, equal distances included, from a part of the grid.

    ``torch.topk`` on the CPU is the C++ library's ``partial_sort`` for long rows: it goes through the values in order and keeps a heap of k, which
    a value enters only if it is less than the largest one in it. Values that would never enter can therefore be left out, and these are, from
    the second row on, all that are at least as far away as k values of the row before.
    """
    n = len(centers)
    xs, ys = centers[:width, 0], centers[::width, 1]
    dx = (gt_centers[:, :1] - xs).square_()  # (G, W)
    dy = (gt_centers[:, 1:] - ys).square_()  # (G, H)
    if width <= topk or len(ys) < 2:
        return _nearest_of_all(centers, gt_centers, topk)
    reach = dx.topk(topk, dim=1, largest=False).values[:, -1] + (dy[:, :-1] - dy[:, 1:]).amax(1).clamp(min=0)
    reach = reach.sqrt() * (1 + _ROUNDING)  # (G,)
    step = float(xs[1] - xs[0])
    side = 2 * math.ceil(float(reach.nan_to_num().amax()) / step) + 2
    count = width + side * (len(ys) - 1)
    if 2 * count > n or count < _HEAP_LENGTH * topk:
        return _nearest_of_all(centers, gt_centers, topk)
    first = ((gt_centers[:, 0] - xs[0]) / step).floor().long() - (side - 1) // 2
    first = first.clamp(min=0, max=width - side)  # (G,) first column of the band
    before = (gt_centers[:, 0] - xs[(first - 1).clamp(min=0)]).masked_fill(first == 0, math.inf)
    behind = (xs[(first + side).clamp(max=width - 1)] - gt_centers[:, 0]).masked_fill(first + side == width, math.inf)
    enough = torch.minimum(before, behind) > reach
    in_band = dx.gather(1, first[:, None] + torch.arange(side))  # (G, side)
    inds = torch.empty(len(gt_centers), topk, dtype=torch.long)
    for some in enough.nonzero().squeeze(1).split(max(1, _MAX_WINDOWS // count)):
        top = dx[some] + dy[some, :1]
        rest = in_band[some, None] + dy[some, 1:, None]
        cells = torch.cat([top, rest.flatten(1)], dim=1).sqrt_().topk(topk, dim=1, largest=False).indices
        row, column = (cells - width).div(side, rounding_mode='floor') + 1, (cells - width) % side + first[some, None]
        inds[some] = torch.where(cells < width, cells, row * width + column)
    for some in (~enough).nonzero().squeeze(1).split(max(1, _MAX_DISTANCES // n)):
        inds[some] = _nearest_of_all(centers, gt_centers[some], topk)
    return inds


def _nearest_in_windows(
    centers: Tensor, start: Tensor, height: Tensor, width: Tensor, boxes: Tensor, topk: int, side: int
) -> tuple[Tensor, Tensor]:
    """The nearest priors in the window of m x m cells around each box.

    Args:
        centers: (P, 2) of the priors of all levels.
        start: (N,) index of the first prior of the pair's level.
        height: (N,) rows of the level, at least m.
        width: (N,) columns.
        boxes: (N, 2) centre of the pair's box.
        topk: k.
        side: m.

    Returns:
        (N, k) indices within the level, and (N,) bool, whether they are certainly those that a comparison with all priors returns.
    """
    x, y = boxes.unbind(1)
    xs, ys = centers.t().contiguous()
    near, far = [], []
    for position, coordinates, stride, count in ((x, xs, torch.ones_like(start), width), (y, ys, width, height)):
        origin = coordinates[start]
        step = coordinates[start + stride] - origin
        first = ((position - origin) / step).floor().long() - (side - 1) // 2
        first = torch.minimum(first.clamp(min=0), count - side)  # (N,) first column or row
        cells = start[:, None] + stride[:, None] * (first[:, None] + torch.arange(side))
        near.append((first, (position[:, None] - coordinates[cells]).square()))
        # How far away what lies before and behind the window is at least.
        before = position - coordinates[(start + stride * (first - 1)).clamp(min=0)]
        behind = coordinates[(start + stride * (first + side)).clamp(max=len(coordinates) - 1)] - position
        far.append(before.masked_fill(first == 0, math.inf))
        far.append(behind.masked_fill(first + side == count, math.inf))
    (column, dx), (row, dy) = near
    distances = (dx[:, None] + dy[:, :, None]).sqrt_().flatten(1)  # (N, m * m), rounded as in _nearest_of_all()
    found = distances.topk(topk + 1, dim=1, largest=False)
    cells = found.indices[:, :topk]
    inds = (row[:, None] + cells // side) * width[:, None] + column[:, None] + cells % side
    last, following = found.values[:, topk - 1], found.values[:, topk]
    outside = torch.stack(far).amin(0)
    return inds, (last < following) & (last < outside * (1 - _ROUNDING))
