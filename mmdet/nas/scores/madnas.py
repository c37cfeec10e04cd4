"""The score ``madnas``, the entropy of MAE-DET (Sun et al., ICML 2022), and QE-score, which adds terms for bit widths."""

import math
from collections.abc import Sequence

from mmdet.registry import NAS_SCORES

from ...archs import Block, Conv, Structure, is_quantised
from ...errors import ConfigError
from ..measure import BlockMeasure
from .base import HALF_LOG, StageScore, log_terms
from .quantisation import quantised_std


@NAS_SCORES.register_module('madnas')
class MadNas(BlockMeasure, StageScore):
    """Sum over stages j of w_j * (log-terms of all units up to the stage's end + ln of its channels).

    Resolution has no effect.

    Args:
        multi_block_ratio: the weights w. Classification uses [0, 0, 0, 0, 1], detection [0, 0, 1, 1, 6], DAMO-YOLO [0, 0, 1, 1, 16].
        init_std: standard deviation of quantised weights in quantisation steps; used only where a block has bit widths.
        init_std_act: the same for quantised activations.
        ratio: factor on the result.
    """

    def __init__(
        self,
        *,
        multi_block_ratio: Sequence[float] = (0, 0, 1, 1, 6),
        init_std: float = 4.0,
        init_std_act: float = 5.0,
        ratio: float = 1.0,
    ):
        super().__init__(multi_block_ratio=multi_block_ratio, ratio=ratio)
        for key, value in (('init_std', init_std), ('init_std_act', init_std_act)):
            if not isinstance(value, int | float) or not value > 0:
                raise ConfigError('must be a number > 0', field=key, received=value)
        self.init_std, self.init_std_act = init_std, init_std_act

    def conv_term(self, conv: Conv) -> float:
        """Log-term of one convolution: ln sqrt(fan-in), plus, where it is quantised, ln(std of activations * std of weights / init_std_act)."""
        term = HALF_LOG[conv.fan_in_channels * conv.taps]
        if conv.bits_a:
            both = quantised_std(self.init_std_act, conv.bits_a) * quantised_std(self.init_std, conv.bits_w)
            term += math.log(both) - math.log(self.init_std_act)
        return term

    def block_value(self, block: Block) -> tuple[int, tuple[float, ...], float]:
        """Stride, log-terms of the units, and the logarithm of the output channels."""
        return block.stride, log_terms(block, self.conv_term if block.bits_a else None), math.log(block.out_channels)

    def combine(self, values: Sequence[tuple[int, tuple[float, ...], float]]) -> float:
        return self.ratio * self.weighted_stages(values)


@NAS_SCORES.register_module('qe')
class QEScore(MadNas):
    """QE-score (Sun et al., NeurIPS 2022): :class:`MadNas` for quantised networks, by default with the published ``init_std`` of 4 and 5."""

    def why_not(self, structure: Structure) -> str | None:
        if not is_quantised(structure):
            return 'QE-score needs bit widths (nbitsA, nbitsW); the structure has none'
        return super().why_not(structure)
