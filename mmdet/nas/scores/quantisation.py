"""Standard deviation of a quantised Gaussian, for the entropy of quantised convolutions (QE-score, Sun et al. 2022)."""

import math
from functools import cache


@cache
def quantised_std(std: float, bits: int) -> float:
    """Standard deviation of a N(0, std^2) variable rounded to integers and clipped to [-2^(bits-1), 2^(bits-1)].

    >>> round(quantised_std(4, 4), 8)
    3.85047126
    """
    top = 2 ** (bits - 1)

    def above(x: float) -> float:
        """The probability of a value above x, without loss of digits where it is small."""
        return 0.5 * math.erfc(x / std / math.sqrt(2))

    variance = [2 * q * q * (above(-q - 0.5) - above(0.5 - q)) for q in range(1, top)]
    variance.append(2 * top * top * above(top - 0.5))
    return math.sqrt(math.fsum(variance))
