"""Spaces of dense residual units, whose bottleneck has its own width: K1KXK1 (classification, detection), K1KX and KXKX (DAMO-YOLO)."""

from collections.abc import Sequence
from typing import Any

from mmdet.registry import NAS_SPACES
from mmdet.utils.checks import is_int

from ...archs import Block, Structure
from ...errors import ConfigError
from .base import Random, Space, round_to_8, set_btn, set_widths, with_block


class DenseSpace(Space):
    """Base of the dense spaces: a bottleneck is between a tenth of the output channels and the output channels."""

    def _move_btn(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, out = structure[i], structure[i].out_channels
        btn = self._draw_channels(block.btn, min(round_to_8(out / 10), out), out, rng)
        return structure if btn == block.btn else with_block(structure, i, set_btn(block, btn))

    def _scale_width(self, structure: Structure, i: int, factor: float) -> Structure:
        block = structure[i]
        btn = bounded_btn(round_to_8(factor * block.btn), block.out_channels)
        return super()._scale_width(with_block(structure, i, set_btn(block, btn)), i, factor)

    def _with_width(self, block: Block, out: int) -> Block:
        return set_widths(block, out, bounded_btn(block.btn, out))


def bounded_btn(btn: int, out: int) -> int:
    """A bottleneck of at least a tenth of the output channels."""
    return btn if btn * 10 >= out else round_to_8(out / 10)


@NAS_SPACES.register_module('space_k1kxk1')
class SpaceK1KXK1(DenseSpace):
    """Bottleneck units. From one block to the next, channels never decrease and grow four times at most."""

    family = 'SuperResK1KXK1'
    scales = (1.5, 1.25, 0.8, 0.6, 0.5)
    growth = 4


class BasicSpace(DenseSpace):
    """Base of the spaces whose units have two convolutions; channels of some blocks are kept within ranges.

    Args:
        channel_range_list: (low, high) for each block, or None for no range.
        kernel_size_list: allowed kernels. If there are several, kernels change, which they never do in LightNAS.
        kwargs: arguments of :class:`Space`.
    """

    first_depth = 2
    moves: tuple[str, ...] = ('out', 'btn', 'depth')

    def __init__(
        self,
        *,
        channel_range_list: Sequence[Sequence[int] | None] = (None, None, (64, 128), None, (128, 256), (256, 512)),
        kernel_size_list: Sequence[int] = (3,),
        **kwargs: Any,
    ):
        for pair in channel_range_list:
            if pair is not None and not (len(pair) == 2 and all(map(is_int, pair)) and pair[0] <= pair[1]):
                raise ConfigError('must be None or [low, high]', field='space.channel_range_list', received=pair)
        if not kernel_size_list or not all(is_int(k, 1) and k % 2 for k in kernel_size_list):
            raise ConfigError('must be odd integers >= 1', field='space.kernel_size_list', received=kernel_size_list)
        self.kernels = tuple((1, k) for k in sorted(kernel_size_list))
        if len(self.kernels) > 1 and not kwargs.get('reference'):
            self.moves = (*self.moves, 'kernel')
        super().__init__(**kwargs)
        self.channel_ranges = tuple(pair and tuple(pair) for pair in channel_range_list)

    def _own_range(self, i: int, block: Block) -> tuple[int, int]:
        pair = self.channel_ranges[i] if i < len(self.channel_ranges) else None
        low, high = super()._own_range(i, block)
        return (max(low, pair[0]), min(high, pair[1])) if pair and block.btn else (low, high)

    def _give_way(self, structure: Structure, i: int, out: int) -> Structure:
        """As in other spaces, and the bottleneck of the next block is at most its input channels."""
        child = super()._give_way(structure, i, out)
        if i + 1 == len(child) or child[i + 1].btn <= out:
            return child
        return with_block(child, i + 1, set_btn(child[i + 1], out))


@NAS_SPACES.register_module('space_k1kx')
class SpaceK1KX(BasicSpace):
    """DAMO-YOLO tiny and small."""

    family = 'SuperResK1KX'


@NAS_SPACES.register_module('space_kxkx')
class SpaceKXKX(BasicSpace):
    """DAMO-YOLO medium and large."""

    family = 'SuperResKXKX'
