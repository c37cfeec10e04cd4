"""The score ``deepmad``: the entropy of DeepMAD (Shen et al., CVPR 2023), with its penalty on uneven depths."""

import math
from collections.abc import Iterable, Sequence

from mmdet.registry import NAS_SCORES

from ...archs import Block, Conv, Structure, family_of
from ..checks import check_integers
from ..measure import BlockMeasure
from .base import StageScore, log_terms


@NAS_SCORES.register_module('deepmad')
class DeepMad(BlockMeasure, StageScore):
    """Sum over stages j of w_j * ln(C_j * R_j^2) * (log-terms of all units up to the stage's end), minus a penalty.

    C_j and R_j are channels and side of the stage's feature map. LightNAS takes R_j as 1 from the first block with squeeze-excitation on, so that
    ln R_j^2 is 0 there. The published structures were searched that way, and it is kept unless ``true_resolution`` is set.

    Args:
        multi_block_ratio: the weights w, one for each stage.
        image_size: side of the input in pixels. The default is that of LightNAS, which takes 224 whatever the image size of the search.
        alpha1: exponent of the channels in the log-terms.
        alpha2: exponent of the kernel taps in the log-terms.
        depth_penalty_ratio: factor on :func:`depth_penalty`, which is subtracted. The published configs have 10.
        true_resolution: use the real side after squeeze-excitation.
        ratio: factor on the score before the penalty.
    """

    def __init__(
        self,
        *,
        multi_block_ratio: Sequence[float] = (1, 1, 1, 1, 8),
        image_size: int = 224,
        alpha1: float = 1.0,
        alpha2: float = 1.0,
        depth_penalty_ratio: float = 0.0,
        true_resolution: bool = False,
        ratio: float = 1.0,
    ):
        super().__init__(multi_block_ratio=multi_block_ratio, ratio=ratio)
        check_integers(image_size=image_size)
        self.image_size = image_size
        self.alpha1, self.alpha2 = alpha1, alpha2
        self.depth_penalty_ratio = depth_penalty_ratio
        self.true_resolution = true_resolution

    def conv_term(self, conv: Conv) -> float:
        """0.5 * (alpha1 * ln(channels per group) + alpha2 * ln(taps)); bit widths do not enter."""
        return 0.5 * (self.alpha1 * math.log(conv.fan_in_channels) + self.alpha2 * math.log(conv.taps))

    def why_not(self, structure: Structure) -> str | None:
        side = self.image_size
        for block in structure:
            side //= block.stride
        if side < 1:
            return f'an input of {self.image_size} pixels is used up by the strides of the structure'
        return super().why_not(structure)

    def block_value(self, block: Block) -> tuple[int, tuple[float, ...], float, bool, tuple[str, int]]:
        """Stride, log-terms of the units, ln of the output channels, whether the side becomes 1, and family and units for the penalty."""
        squeezes = family_of(block.type).has_se and not self.true_resolution
        conv_term = None if self.alpha1 == self.alpha2 == 1 else self.conv_term
        return block.stride, log_terms(block, conv_term), math.log(block.out_channels), squeezes, _depth(block)

    def combine(self, values: Sequence[tuple[int, tuple[float, ...], float, bool, tuple[str, int]]]) -> float:
        # The loop of weighted_stages with another term. It is written out: a search spends a quarter of its time here.
        weights, last = self.multi_block_ratio, len(self.multi_block_ratio) - 1
        stage, total, score, side, log_channels = -1, 0.0, 0.0, self.image_size, 0.0
        for stride, terms, after, squeezes, _ in values:
            if stride == 2 or stage < 0:
                if stage >= last:
                    raise self._wrong_stages()
                if stage >= 0:
                    score += weights[stage] * (log_channels + math.log(side * side)) * total
                stage += 1
            for term in terms:
                total += term
            # At least one pixel: after a squeezed block, a strided one would give 1 // 2.
            side = 1 if squeezes else side // stride or 1
            log_channels = after
        if stage != last:
            raise self._wrong_stages()
        score = self.ratio * (score + weights[last] * (log_channels + math.log(side * side)) * total)
        if self.depth_penalty_ratio:
            score -= self.depth_penalty_ratio * _penalty(depth for *_, depth in values)
        return score


def depth_penalty(structure: Structure) -> float:
    """exp of the population standard deviation of the super blocks' numbers of units.

    The first block is left out where all super blocks are SuperResKXKX, and the first two where they are five SuperResK1KXK1: LightNAS drops one,
    asserts that four remain, and drops another. It fails on any other number of SuperResK1KXK1; here all of them count then.
    """
    return _penalty(map(_depth, structure))


def _depth(block: Block) -> tuple[str, int]:
    """Family and units of a super block; ('', 0) for a single convolution."""
    return (block.type, block.layers) if family_of(block.type).is_super else ('', 0)


def _penalty(depths: Iterable[tuple[str, int]]) -> float:
    depths = [depth for depth in depths if depth[1]]
    kinds, units = {kind for kind, _ in depths}, [layers for _, layers in depths]
    if kinds == {'SuperResK1KXK1'} and len(units) == 5:
        units = units[2:]
    elif kinds == {'SuperResKXKX'}:
        units = units[1:]
    if not units:
        return 1.0
    mean = sum(units) / len(units)
    return math.exp(math.sqrt(sum((layers - mean) ** 2 for layers in units) / len(units)))
