"""Interpolation of a quantity measured over (channels, side): linear between the measured points, the nearest one outside."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np


class Surface:
    """Interpolation of scattered points in the plane.

    Args:
        points: N points (channels, side).
        values: N values.
    """

    def __init__(self, points: Sequence[tuple[float, float]], values: Sequence[float]):
        self.points = np.asarray(points, float)  # (N, 2)
        self.values = np.asarray(values, float)  # (N,)
        self._exact = dict(zip(map(tuple, self.points.tolist()), self.values.tolist()))

    def __call__(self, channels: float, side: float) -> float:
        """The value at a point: the measured one; else by linear interpolation; outside or where that is negative, of the nearest point."""
        exact = self._exact.get((float(channels), float(side)))
        if exact is not None:
            return exact
        value = float(self._linear(channels, side))
        return value if value >= 0 else float(self._nearest(channels, side))  # not >= 0 for NaN, too

    @cached_property
    def _nearest(self) -> Callable[[float, float], float]:
        from scipy.interpolate import NearestNDInterpolator  # heavy: only for searches that predict latency

        # Rescaled to the unit square, because channels and sides have different ranges.
        return NearestNDInterpolator(self.points, self.values, rescale=len(self.values) > 1)

    @cached_property
    def _linear(self) -> Callable[[float, float], float]:
        """Over Delaunay triangles; along a line where all points share their channels or side; NaN outside."""
        from scipy.interpolate import LinearNDInterpolator  # heavy, as above
        from scipy.spatial import QhullError

        spread = np.ptp(self.points, axis=0) > 0  # (2,)
        if spread.all() and len(self.values) > 2:
            try:
                return LinearNDInterpolator(self.points, self.values)
            except QhullError:  # points on an oblique line
                return lambda channels, side: float('nan')
        axis = int(np.argmax(spread))
        order = np.argsort(self.points[:, axis])
        x, y, fixed = self.points[order, axis], self.values[order], self.points[0, 1 - axis]

        def along(*point: float) -> float:
            inside = point[1 - axis] == fixed
            return float(np.interp(point[axis], x, y, left=np.nan, right=np.nan)) if inside else float('nan')

        return along
