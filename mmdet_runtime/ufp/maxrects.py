"""Denser packing: bottom-left placement over maximal free rectangles.

Source: J. Jylänki, "A Thousand Ways to Pack the Bin", 2010, MAXRECTS-BL, without rotation.

Letters: R rectangles (width, height) to pack; F free rectangles; P pieces cut from free rectangles.
"""

import numpy as np

_all = np.logical_and.reduce  # np.all without its overhead, a twentieth of the time of a packing

OVERSIZE = (1.0, 1.02, 1.04, 1.06, 1.09)
"""Strip widths tried, as multiples of the side of a square of the tiles' area. On VisDrone the best mosaic is 1.06-1.08 times
that side; a strip slightly narrower than the final mosaic packs best (docs/ufp.md)."""


def pack_maxrects(sizes: np.ndarray, width: float) -> np.ndarray:
    """Pack rectangles into a strip. Those with the longest side go first, each to the highest free place, or the leftmost of the highest.

    Args:
        sizes: (R, 2) widths and heights, > 0.
        width: width of the strip, at least that of the widest rectangle.

    Returns:
        positions (R, 2) of the top-left corners, in input order.

    Raises:
        ValueError: a rectangle is wider than the strip.
    """
    if len(sizes) and sizes[:, 0].max() > width:
        raise ValueError(f'width must be at least the widest rectangle, {sizes[:, 0].max()}. Received: {width}')
    positions = np.empty((len(sizes), 2))
    endless = float(sizes[:, 1].sum()) + 1.0
    free = np.array([[0.0, 0.0, width, endless]])  # (F, 4) xyxy, none inside another
    for item in np.argsort(-sizes.max(axis=1), kind='stable').tolist():
        w, h = sizes[item]
        corners = free[(free[:, 2] - free[:, 0] >= w) & (free[:, 3] - free[:, 1] >= h), :2]
        y = corners[:, 1].min()
        x = corners[corners[:, 1] == y, 0].min()
        positions[item] = x, y
        free = _cut(free, x, y, x + w, y + h)
    return positions


def _cut(free: np.ndarray, x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """Remove a rectangle from the free ones: those it overlaps are replaced by what remains of them on each of its four sides."""
    hit = (free[:, 0] < x2) & (free[:, 2] > x1) & (free[:, 1] < y2) & (free[:, 3] > y1)
    old, free = free[hit], free[~hit]
    left, right, above, below = old[old[:, 0] < x1], old[old[:, 2] > x2], old[old[:, 1] < y1], old[old[:, 3] > y2]
    left[:, 2], right[:, 0], above[:, 3], below[:, 1] = x1, x2, y1, y2
    pieces = np.concatenate([left, right, above, below])  # (P, 4)
    everything = np.concatenate([free, pieces])  # (F + P, 4)
    inside = _all(pieces[:, None, :2] >= everything[:, :2], axis=-1)  # (P, F + P)
    inside &= _all(pieces[:, None, 2:] <= everything[:, 2:], axis=-1)
    # Two equal pieces are inside each other: the first stays.
    same = _all(pieces[:, None] == pieces, axis=-1)  # (P, P)
    inside[:, len(free) :] &= ~(same & ~np.tri(len(pieces), k=-1, dtype=bool))
    return np.concatenate([free, pieces[~inside.any(axis=1)]])


def pack_dense(sizes: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """The packing with the shortest long side among several strip widths.

    Args:
        sizes: (R, 2) widths and heights, > 0.
        first: (R, 2) positions of another packing, returned unless a better one is found.

    Returns:
        positions (R, 2), in input order.
    """
    if len(sizes) == 0:
        return np.zeros((0, 2))
    side = float(np.sqrt(sizes.prod(axis=1).sum()))
    widths = sorted({max(side * factor, float(sizes[:, 0].max())) for factor in OVERSIZE})
    packings = [pack_maxrects(sizes, width) for width in widths]
    return min(packings if first is None else [first, *packings], key=lambda positions: (positions + sizes).max())
