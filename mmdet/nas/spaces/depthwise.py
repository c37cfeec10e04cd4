"""Spaces of inverted residual units, whose bottleneck is a multiple of the output: plain, squeeze-excitation, video, quantised.

A head (a last block of a single convolution) never changes.
"""

from collections.abc import Sequence
from typing import Any

from mmdet.registry import NAS_SPACES
from mmdet.utils.checks import is_int, is_number

from ...archs import Block, Structure
from ...errors import ConfigError
from .base import Random, Space, round_to_8, set_bits_a, set_bits_w, set_btn, set_layers, set_widths, with_block

NEAR_RATIOS = 3  # how far in the list of ratios a small change of the bottleneck goes


def tenths(low: int, high: int) -> tuple[float, ...]:
    """low / 10, (low + 1) / 10, ..., high / 10."""
    return tuple(value / 10 for value in range(low, high + 1))


class DepthwiseSpace(Space):
    """Base of the depthwise spaces: the bottleneck is a listed ratio times the output channels, rounded to 8; channels never decrease with depth.

    Attributes:
        ratios: allowed ratios of bottleneck to output channels, ascending.
    """

    ratios: tuple[float, ...]
    max_channels = 1280
    unmoved = 3

    def _with_width(self, block: Block, out: int) -> Block:
        return set_widths(block, out, round_to_8(out * self._nearest(block.btn / block.out_channels)))

    def _move_btn(self, structure: Structure, i: int, rng: Random) -> Structure:
        """Take any ratio, or, with a probability of one half (in LightNAS never), one near the present ratio."""
        block, ratios = structure[i], self.ratios
        if not self.reference and rng() < 0.5:
            at = ratios.index(self._nearest(block.btn / block.out_channels))
            ratios = ratios[max(at - NEAR_RATIOS, 0) : at + NEAR_RATIOS + 1]
        for _ in ratios:
            btn = round_to_8(block.out_channels * ratios[int(rng() * len(ratios))])
            if btn != block.btn:
                return with_block(structure, i, set_btn(block, btn))
        return structure

    def _move_out(self, structure: Structure, i: int, rng: Random) -> Structure:
        """As in other spaces; the bottleneck keeps its ratio, or, with a probability of one half (in LightNAS never), about its width."""
        child = super()._move_out(structure, i, rng)
        if child is structure or self.reference or rng() < 0.5:
            return child
        block = child[i]
        btn = round_to_8(block.out_channels * self._nearest(structure[i].btn / block.out_channels))
        return with_block(child, i, set_btn(block, btn))

    def _nearest(self, ratio: float) -> float:
        return min(self.ratios, key=lambda known: abs(known - ratio))


@NAS_SPACES.register_module('space_k1dwk1')
class SpaceK1DWK1(DepthwiseSpace):
    """MobileNetV2-like."""

    family = 'SuperResK1DWK1'
    ratios = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)


@NAS_SPACES.register_module('space_k1dwsek1')
class SpaceK1DWSEK1(DepthwiseSpace):
    """With squeeze-excitation, finer choices, kernels up to 7 (DeepMAD 29M, 50M, 89M)."""

    family = 'SuperResK1DWSEK1'
    scales = tenths(5, 20)
    kernels = ((1, 3), (1, 5), (1, 7))
    ratios = tenths(15, 60)
    stem_range = (16, 32)


@NAS_SPACES.register_module('space_3d_k1dwk1')
class Space3DK1DWK1(DepthwiseSpace):
    """Video networks (E3D)."""

    family = 'SuperRes3DK1DWK1'
    stem_family = 'Conv3DKXBNRELU'
    kernels = ((1, 3), (1, 5), (3, 3))
    ratios = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    max_channels = 640


@NAS_SPACES.register_module('space_quant_k1dwk1')
class SpaceQuantK1DWK1(DepthwiseSpace):
    """Mixed-precision networks. The convolutions of a unit share their bit widths, one for activations and one for weights.

    Args:
        nbits_list: allowed bit widths.
        nbits_ratio: probability that a mutation changes the bits of a unit, for activations and weights separately; default 0.1. At least one
            changes. LightNAS changes nine tenths of them, where one tenth was meant.
        kwargs: arguments of :class:`Space`.
    """

    family = 'SuperQuantResK1DWK1'
    ratios = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    moves = ('out', 'kernel', 'btn', 'depth', 'bits')

    def __init__(self, *, nbits_list: Sequence[int] = (3, 4, 5, 6), nbits_ratio: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not nbits_list or not all(is_int(bits, 2) and bits <= 8 for bits in nbits_list):
            raise ConfigError('must be integers in 2..8', field='space.nbits_list', received=nbits_list)
        nbits_ratio = (0.9 if self.reference else 0.1) if nbits_ratio is None else nbits_ratio
        if not is_number(nbits_ratio) or not 0 < nbits_ratio <= 1:
            raise ConfigError('must be a number in (0, 1]', field='space.nbits_ratio', received=nbits_ratio)
        self.nbits, self.nbits_ratio = tuple(sorted(set(nbits_list))), nbits_ratio

    def _with_depth(self, block: Block, layers: int) -> Block:
        convs = 3 * layers  # new ones get the bits of the first
        bits_a, bits_w = ((bits + bits[:1] * convs)[:convs] for bits in (block.bits_a, block.bits_w))
        return set_layers(set_bits_w(set_bits_a(block, bits_a), bits_w), layers)

    def _move_bits(self, structure: Structure, i: int, rng: Random) -> Structure:
        block = structure[i]
        units, bits = block.layers, [*block.bits_a, *block.bits_w]
        moved = [unit for unit in range(2 * units) if rng() < self.nbits_ratio]  # activations, then weights
        if not moved and not self.reference:
            moved = [int(rng() * 2 * units)]
        for unit in moved:
            bits[3 * unit : 3 * unit + 3] = [self._step(bits[3 * unit], rng)] * 3
        child = set_bits_w(set_bits_a(block, tuple(bits[: 3 * units])), tuple(bits[3 * units :]))
        return structure if child == block else with_block(structure, i, child)

    def _step(self, bits: int, rng: Random) -> int:
        """The next higher or lower bit width of the list, with equal probability; at an end possibly the same."""
        nbits = self.nbits
        at = nbits.index(bits) if bits in nbits else min(range(len(nbits)), key=lambda k: abs(nbits[k] - bits))
        return nbits[min(max(at + (1 if rng() < 0.5 else -1), 0), len(nbits) - 1)]
