"""Guillotine strip packing by the priority heuristic, and the search for a roughly square mosaic.

Source: Zhang, Shi, Leung and Wu, "A priority heuristic for the guillotine rectangular packing problem", Information Processing
Letters 116(1), 2016, in the variant without rotation that UFPMP-Det uses.

Letters: R rectangles; a rectangle is (width, height), a position is its top-left corner.
"""

import functools
import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import or_
from typing import Any

import numpy as np

STRIP_LIMITS = (300.0, 2666.0)
"""Smallest and largest strip width of the search (2666 is twice the detector's input of 1333)."""


class StripPacker:
    """Packs one set of rectangles into strips of different widths.

    Rows are opened from the top, each by the tallest rectangle left, placed at x = 0 even when the strip is narrower. The space
    to its right is filled recursively: among the rectangles that fit, one of exactly its size is preferred, then one of its width,
    then one of its height, then any other, and of several the tallest. What remains of the space is cut once, straight through, in
    the direction that keeps the more useful piece.

    A set of rectangles is an integer with one bit for each, the tallest in the highest bit. The set "not yet placed, not wider than
    w, not taller than h" then takes two binary searches and two ANDs, however many rectangles there are, instead of a walk through a
    list, and the tallest of a set is found by its bit length.

    Args:
        sizes: (R, 2) widths and heights, all > 0, R > 0.
    """

    def __init__(self, sizes: np.ndarray):
        count = len(sizes)
        # By rising height, equal ones in reverse input order, so that the highest bit is the first of the tallest.
        self.order = np.argsort(-sizes[:, 1], kind='stable')[::-1]  # (R,)
        ordered = sizes[self.order]  # (R, 2)
        self.widths, self.heights = ordered[:, 0].tolist(), ordered[:, 1].tolist()
        self.bits, self.lowest = _bit_tables(-(-count // 256) * 256)  # [item]; [k]: the k least tall
        by_width = np.argsort(ordered[:, 0], kind='stable')
        self.sorted_widths = ordered[by_width, 0].tolist()
        in_width_order = [self.bits[item] for item in by_width.tolist()]
        self.narrowest = [0, *accumulate(in_width_order, or_)]  # [j]: the j narrowest
        self.same_width = _equal_sets(ordered[by_width, 0], in_width_order)  # [j]: as wide as the j-th narrowest
        self.same_height = _equal_sets(ordered[:, 1], self.bits)
        short_sides = ordered.min(axis=1)
        self.by_short_side = np.argsort(short_sides, kind='stable').tolist()
        self.short_sides = np.sort(short_sides).tolist()
        self.ordered, self.area = ordered, float((ordered[:, 0] * ordered[:, 1]).sum())

    def lowest_height(self, width: float) -> float:
        """Lower bound of the height of any packing: the area inside the strip divided by its width, less the rounding error."""
        area = self.area
        if width < self.sorted_widths[-1]:
            area = float((np.minimum(self.ordered[:, 0], width) * self.ordered[:, 1]).sum())
        return area / width * (1 - 1e-9)

    def pack(self, width: float, limit: float = math.inf) -> tuple[float, list[float], list[float]]:
        """Pack into a strip.

        Args:
            width: width of the strip.
            limit: the search ends as soon as the height is certain to exceed this.

        Returns:
            height of the packing, infinity where the search was ended; x and y of the rectangles in the order of ``self.order``.
        """
        widths, heights, bits = self.widths, self.heights, self.bits
        sorted_widths, narrowest, lowest = self.sorted_widths, self.narrowest, self.lowest
        same_width, same_height = self.same_width, self.same_height
        by_short_side, short_sides = self.by_short_side, self.short_sides
        left = lowest[len(widths)]
        xs: list[Any] = [None] * len(widths)  # None: not placed yet
        ys: list[Any] = [None] * len(widths)
        shortest, least = 0, short_sides[0]  # no rectangle left has a side below ``least``
        widest = sorted_widths[-1]
        total = 0.0
        stack: list[tuple[float, float, float, float]] = []  # spaces put aside: x, y, w, h
        while left:
            item = left.bit_length() - 1
            h = heights[item]
            if total + h > limit:
                return math.inf, xs, ys
            left ^= bits[item]
            xs[item], ys[item] = 0.0, total
            x, y = widths[item], total
            w = width - x
            total += h
            while left:
                # Nine steps out of ten are this simple: everything left would fit, and nothing could lie under the tallest, so the
                # tallest is placed and the space to its right remains.
                while w > widest:
                    item = left.bit_length() - 1
                    if not 0 <= h - heights[item] < least:
                        break
                    left ^= bits[item]
                    xs[item], ys[item] = x, y
                    x, w = x + widths[item], w - widths[item]
                    if not left:
                        return total, xs, ys
                fitting = 0
                if w >= least and h >= least:
                    j, k = bisect_right(sorted_widths, w), bisect_right(heights, h)
                    fitting = left & narrowest[j] & lowest[k]
                if not fitting:
                    if not stack:
                        break
                    x, y, w, h = stack.pop()
                    continue
                exact_width = fitting & same_width[j - 1] if sorted_widths[j - 1] == w else 0
                exact_height = (exact_width or fitting) & same_height[k - 1] if heights[k - 1] == h else 0
                item = (exact_height or exact_width or fitting).bit_length() - 1
                left ^= bits[item]
                xs[item], ys[item] = x, y
                a, b = widths[item], heights[item]
                if exact_width:
                    # The space below; nothing is left of it where the height is exact too.
                    y, h = y + b, h - b
                elif exact_height:
                    x, w = x + a, w - a
                elif left:
                    while xs[by_short_side[shortest]] is not None:
                        shortest += 1
                    least = short_sides[shortest]
                    if w - a < least:
                        y, h = y + b, h - b
                    elif h - b < least:
                        x, w = x + a, w - a
                    elif a < least:
                        stack.append((x, y + b, w, h - b))
                        x, w, h = x + a, w - a, b
                    else:
                        stack.append((x + a, y, w - a, h))
                        y, w, h = y + b, a, h - b
        return total, xs, ys

    def positions(self, xs: list[float], ys: list[float]) -> np.ndarray:
        """The coordinates that :meth:`pack` returned, as an array (R, 2) in the order of the input."""
        result = np.empty((len(xs), 2))
        result[self.order, 0], result[self.order, 1] = xs, ys
        return result


@functools.cache
def _bit_tables(capacity: int) -> tuple[list[int], list[int]]:
    """The integers with one bit set, and those with the lowest 0, 1, 2, ... bits set. The lists are shared: do not change them."""
    return [1 << item for item in range(capacity)], [(1 << k) - 1 for k in range(capacity + 1)]


def _equal_sets(rising: np.ndarray, bits: list[int]) -> list[int]:
    """For every rectangle the set of those with the same value; ``rising`` holds the sorted values, ``bits`` their rectangles."""
    if not (rising[1:] == rising[:-1]).any():
        return bits
    values = rising.tolist()
    sets = dict.fromkeys(values, 0)
    for value, bit in zip(values, bits):
        sets[value] |= bit
    return [sets[value] for value in values]


def pack_strip(sizes: np.ndarray | Sequence[Sequence[float]], width: float) -> tuple[float, np.ndarray]:
    """Height of the packing of :class:`StripPacker`, and positions (R, 2) in input order.

    Args:
        sizes: (R, 2) widths and heights, all > 0.
        width: width of the strip. A wider rectangle is placed nevertheless, at x = 0.

    >>> pack_strip([[60, 50], [40, 30], [10, 20]], 50)[0]
    80.0
    """
    sizes = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if len(sizes) == 0:
        return 0.0, np.zeros((0, 2))
    packer = StripPacker(sizes)
    height, xs, ys = packer.pack(float(width))
    return height, packer.positions(xs, ys)


def pack_guillotine(sizes: np.ndarray) -> np.ndarray:
    """The original's roughly square mosaic: a binary search over strip widths in 11 steps.

    The last packing tried is kept even if it is higher than wide, as in the original. Of the other widths only the answer "higher
    than wide" counts, so a width that the area alone rules out is not packed, and a packing ends once it must exceed its limit.

    Args:
        sizes: (R, 2) widths and heights, all > 0.

    Returns:
        positions (R, 2) in input order.
    """
    if len(sizes) == 0:
        return np.zeros((0, 2))
    packer = StripPacker(sizes)
    low, high = STRIP_LIMITS
    while True:
        width = (low + high) / 2
        if low > width - 1 and width + 1 > high:  # the last
            return packer.positions(*packer.pack(width)[1:])
        if packer.lowest_height(width) > width or packer.pack(width, limit=width)[0] > width:
            low = width + 1
        else:
            high = width - 1
