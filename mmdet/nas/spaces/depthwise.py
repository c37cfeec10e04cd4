"""Spaces of inverted residual units, whose bottleneck is a multiple of the output: plain, squeeze-excitation, video, quantised.

A head (last block, one convolution) never moves.
"""

from collections.abc import Sequence

from mmdet.registry import NAS_SPACES

from ...archs.structure import Block, Structure
from ...errors import ConfigError
from .base import Random, Space, make_block, round_to_8, with_block

NEAR_RATIOS = 3  # places in the list of ratios


def tenths(low: int, high: int) -> tuple[float, ...]:
    """low / 10, (low + 1) / 10, ... high / 10."""
    return tuple(value / 10 for value in range(low, high + 1))


class DepthwiseSpace(Space):
    """What they share: a listed expansion ratio times the output, rounded to 8, is the bottleneck; channels never fall with depth.

    Attributes:
        ratios: expansion ratios.
    """

    ratios: tuple[float, ...]
    max_channels = 1280
    unmoved = 3

    def _with_width(self, block: Block, out: int) -> Block:
        btn = round_to_8(out * self._nearest(block[6] / block[2]))
        return make_block(block[:2] + (out,) + block[3:6] + (btn,) + block[7:])

    def _move_btn(self, structure: Structure, i: int, rng: Random) -> Structure:
        """Any ratio, or (not in the reference) one near the present one, half of the time each."""
        block, ratios = structure[i], self.ratios
        if not self.reference and rng() < 0.5:
            at = ratios.index(self._nearest(block[6] / block[2]))
            ratios = ratios[max(at - NEAR_RATIOS, 0) : at + NEAR_RATIOS + 1]
        for _ in ratios:
            btn = round_to_8(block[2] * ratios[int(rng() * len(ratios))])
            if btn != block[6]:
                return with_block(structure, i, make_block(block[:6] + (btn,) + block[7:]))
        return structure

    def _move_out(self, structure: Structure, i: int, rng: Random) -> Structure:
        """As elsewhere; the bottleneck keeps its ratio, or (not in the reference) about its width, half of the time each."""
        child = super()._move_out(structure, i, rng)
        if child is structure or self.reference or rng() < 0.5:
            return child
        block = child[i]
        btn = round_to_8(block[2] * self._nearest(structure[i][6] / block[2]))
        return with_block(child, i, make_block(block[:6] + (btn,) + block[7:]))

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
    """Mixed-precision networks; the convolutions of a unit share their bits, activations and weights have their own.

    Args:
        nbits_list: bit widths allowed.
        nbits_ratio: how likely each unit's bits move in one mutation, activations and weights apart; at least one moves. The reference moves
            nine tenths of them every time, meaning one tenth.
        kwargs: of :class:`Space`.
    """

    family = 'SuperQuantResK1DWK1'
    ratios = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    moves = ('out', 'kernel', 'btn', 'depth', 'bits')

    def __init__(self, *, nbits_list: Sequence[int] = (3, 4, 5, 6), nbits_ratio: float | None = None, **kwargs):
        super().__init__(**kwargs)
        if not nbits_list or not all(isinstance(bits, int) and 2 <= bits <= 8 for bits in nbits_list):
            raise ConfigError('must be integers in 2..8', field='space.nbits_list', received=nbits_list)
        nbits_ratio = (0.9 if self.reference else 0.1) if nbits_ratio is None else nbits_ratio
        if not isinstance(nbits_ratio, int | float) or not 0 < nbits_ratio <= 1:
            raise ConfigError('must be a number in (0, 1]', field='space.nbits_ratio', received=nbits_ratio)
        self.nbits, self.nbits_ratio = tuple(sorted(set(nbits_list))), nbits_ratio

    def _with_depth(self, block: Block, layers: int) -> Block:
        convs = 3 * layers
        bits_a, bits_w = (
            bits[:convs] if len(bits) >= convs else bits + bits[:1] * (convs - len(bits)) for bits in block[8:10]
        )
        return make_block(block[:5] + (layers,) + block[6:8] + (bits_a, bits_w) + block[10:])

    def _move_bits(self, structure: Structure, i: int, rng: Random) -> Structure:
        block = structure[i]
        units, ratio = block[5], self.nbits_ratio
        moved = [unit for unit in range(2 * units) if rng() < ratio]
        if not moved and not self.reference:
            moved = [int(rng() * 2 * units)]
        if not moved:
            return structure
        both = [list(block[8]), list(block[9])]
        for unit in moved:
            bits, at = both[unit >= units], 3 * (unit % units)
            bits[at : at + 3] = [self._step(bits[at], rng)] * 3
        bits_a, bits_w = map(tuple, both)
        if bits_a == block[8] and bits_w == block[9]:
            return structure
        return with_block(structure, i, make_block(block[:8] + (bits_a, bits_w) + block[10:]))

    def _step(self, bits: int, rng: Random) -> int:
        """One place up or down in the list; at its ends possibly none."""
        nbits = self.nbits
        at = nbits.index(bits) if bits in nbits else min(range(len(nbits)), key=lambda k: abs(nbits[k] - bits))
        return nbits[min(max(at + (1 if rng() < 0.5 else -1), 0), len(nbits) - 1)]
