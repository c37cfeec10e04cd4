"""A measured quantity over (channels, side), interpolated: linear inside the measured points, the nearest point outside."""

from collections.abc import Sequence

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
        self._linear = self._nearest = None

    def __call__(self, channels: float, side: float) -> float:
        """The value at a point: a measured one as it is, else a linear one, else (outside, or negative) the nearest measured."""
        exact = self._exact.get((float(channels), float(side)))
        if exact is not None:
            return exact
        if self._linear is None:
            self._linear = self._build_linear()
        value = float(self._linear(channels, side))
        if value >= 0:  # False for NaN, too
            return value
        if self._nearest is None:
            from scipy.interpolate import NearestNDInterpolator  # heavy: only for searches that predict latency

            # Rescaled to the unit square: channels and sides have different ranges.
            self._nearest = NearestNDInterpolator(self.points, self.values, rescale=len(self.values) > 1)
        return float(self._nearest(channels, side))

    def _build_linear(self):
        """Delaunay triangles; along a line if all points share their channels or side (a small library); else nowhere."""
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
            if len(x) < 2 or point[1 - axis] != fixed or not x[0] <= point[axis] <= x[-1]:
                return float('nan')
            return float(np.interp(point[axis], x, y))

        return along
