"""Search spaces: which structures can be reached from an initial one, one block mutation at a time.

A space never changes the number of blocks, their families and their strides. What depends on those only (kernel limits by resolution, depth caps,
which blocks may change) is computed once, in :meth:`Space.start`. A mutation then replaces one block of the tuple, and the input width of the next
one. Mutation is the larger half of a search's time, so the methods here draw from a bare ``random()`` function and replace fields by functions
that are faster than ``NamedTuple._replace``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...archs import Block, BlockMemo, Structure, family_of
from ...errors import ConfigError
from ..checks import check_integers, image_sides

Random = Callable[[], float]
make_block: Callable[[tuple], Block] = partial(tuple.__new__, Block)  # Block._make without its check of the length


def _setter(field: str) -> Callable[[Block, Any], Block]:
    """``block._replace(field=value)`` as a function of block and value, several times faster."""
    at = Block._fields.index(field)
    after = at + 1

    def replaced(block: Block, value: Any) -> Block:
        return make_block(block[:at] + (value,) + block[after:])  # faster than unpacking into one tuple

    return replaced


def set_in(block: Block, channels: int) -> Block:
    """As a ``_setter`` of ``in_channels``, which is the most frequent of them, with one slice less."""
    return make_block((block[0], channels) + block[2:])


def set_widths(block: Block, out: int, btn: int) -> Block:
    """As ``set_btn`` after ``set_out``, without the block in between."""
    return make_block(block[:2] + (out,) + block[3:6] + (btn,) + block[7:])


set_out, set_btn, set_layers = map(_setter, ('out_channels', 'btn', 'layers'))
set_kernel, set_kt, set_bits_a, set_bits_w = map(_setter, ('kernel', 'kt', 'bits_a', 'bits_w'))

DEPTH_STEPS = (-2, -1, 1, 2)
STEM_LIMIT = 32
FINE_STEPS = (-32, -16, -8, -8, 8, 8, 16, 32)


def round_to_8(value: float) -> int:
    """The nearest multiple of 8, at least 8; of two equally near ones, the multiple of 16."""
    return max(8, 8 * round(value / 8))


class Space:
    """Base of the spaces; a subclass sets its families, choices and moves.

    Channels change by factors and by steps of 8 to 32, and neighbouring blocks give way: output channels that exceed those of the next block raise
    them. So a search does not get stuck between two blocks of equal width, or at one that is four times as wide as the one before.

    Args:
        image_size: side of the input in pixels, or (height, width); a kernel is allowed where 1.5 times its side fits into the block's input.
        block_num: number of block mutations in a child.
        exclude_stem: keep the stem as it is.
        maximum_channel: upper limit of every block's output channels, instead of the space's own.
        reference: behave as LightNAS 2.0 does, for comparisons: the last block never changes, mutations that change nothing count, channels are
            only scaled, and they are limited by those of the neighbouring blocks.

    Attributes:
        family: family of the super blocks.
        stem_family: family of the stem, and of a head.
        scales: factors on channels.
        kernels: pairs (temporal kernel, kernel).
        max_channels: largest number of output channels.
        growth: how many times wider than the block before a block may be; None for any.
        stem_range: lowest and highest output channels of the stem.
        first_depth: largest number of units of block 1.
        unmoved: number of blocks left out where the layers budget is divided among the blocks.
        moves: names of the mutations.
        minor_moves: names of the mutations that change channels only.
    """

    family: str
    stem_family = 'ConvKXBNRELU'
    scales: tuple[float, ...] = (2.0, 1.5, 1.25, 0.8, 0.6, 0.5)
    kernels: tuple[tuple[int, int], ...] = ((1, 3), (1, 5))
    max_channels = 2048
    growth: int | None = None
    stem_range = (8, STEM_LIMIT)
    first_depth = 3
    unmoved = 2
    moves: tuple[str, ...] = ('out', 'kernel', 'btn', 'depth')
    minor_moves: tuple[str, ...] = ('out', 'btn')

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        block_num: int = 2,
        exclude_stem: bool = False,
        maximum_channel: int | None = None,
        reference: bool = False,
    ):
        self.side = min(image_sides(image_size, 'space.image_size'))
        self.channel_limit = self.max_channels if maximum_channel is None else maximum_channel
        check_integers('space.', block_num=block_num, maximum_channel=self.channel_limit)
        self.block_num, self.exclude_stem, self.reference = block_num, bool(exclude_stem), bool(reference)
        self.channel_steps = tuple((scale, 0) for scale in self.scales)
        if not reference:
            self.channel_steps += tuple((1.0, step) for step in FINE_STEPS)
        self._stepped = BlockMemo(self._all_steps)

    def start(self, structure: Structure, max_layers: int | None = None) -> None:
        """Prepare for the structures that share families and strides with an initial one.

        Args:
            structure: the initial structure.
            max_layers: upper bound of the layers budget; None: depths are not limited.

        Raises:
            ConfigError: the structure does not belong to this space, or has no block that may change.
        """
        self._check(structure)
        n, cap = len(structure), 1 << 20
        self.max_units: int | None = None
        if max_layers is not None:
            convs, singles = family_of(self.family).convs_per_unit, sum(block.btn == 0 for block in structure)
            self.max_units = (int(max_layers) - singles) // convs
            cap = max(1, int(max_layers) // convs // max(n - self.unmoved, 1))
        self.depth_caps = [self.first_depth if i == 1 else cap for i in range(n)]
        self.kernel_choices: list[tuple[tuple[int, int], ...]] = []
        side = self.side
        for block in structure:
            allowed = tuple(pair for pair in self.kernels if 1.5 * pair[1] <= side)
            self.kernel_choices.append(allowed or self.kernels[:1])
            side = max(side // block.stride, 1)
        if self.reference:  # numpy's half-open randint(0, n - 1): the last block is left out
            self.movable = tuple(range(int(self.exclude_stem), n - 1))
        else:
            self.movable = tuple(i for i in range(n) if structure[i].btn or (i == 0 and not self.exclude_stem))
        if not self.movable:
            raise ConfigError('the structure has no block that may change', field='space', received=n)
        self.out_ranges = [self._own_range(i, block) for i, block in enumerate(structure)]
        if not self.reference:  # the blocks before and after give way, but within their own ranges
            lows, highs = map(list, zip(*self.out_ranges))
            for i in range(2, n):
                lows[i] = max(lows[i], lows[i - 1])
            for i in range(n - 2, 0, -1):
                highs[i] = min(highs[i], highs[i + 1])
            self.out_ranges = list(zip(lows, highs))
        self._movers = [self._movers_of(block, i, self.moves) for i, block in enumerate(structure)]
        self._minor_movers = [self._movers_of(block, i, self.minor_moves) for i, block in enumerate(structure)]

    def mutate(self, structure: Structure, rng: Random, minor: bool = False) -> Structure:
        """Change one block.

        Blocks are tried at random until one changes and the depth fits the layers budget, but only as many times as there are blocks; the result
        of the last try is taken in any case.

        Args:
            structure: one with the families and strides of the initial structure.
            rng: gives uniform numbers in [0, 1).
            minor: whether to change channels only.
        """
        movable, all_movers, child = self.movable, self._minor_movers if minor else self._movers, structure
        for _ in structure:
            i = movable[int(rng() * len(movable))]
            movers = all_movers[i]
            child = movers[int(rng() * len(movers))](structure, i, rng) if movers else structure
            if child is structure and not self.reference:
                continue
            if child[i].layers <= structure[i].layers or self.max_units is None:
                return child
            units = 0
            for block in child:
                if block.btn:
                    units += block.layers
            if units <= self.max_units:
                return child
        return child

    def child(self, parent: Structure, rng: Random, minor: bool = False) -> Structure:
        """Apply ``block_num`` mutations; arguments as in :meth:`mutate`."""
        for _ in range(self.block_num):
            parent = self.mutate(parent, rng, minor)
        return parent

    def _with_width(self, block: Block, out: int) -> Block:
        """Give a block other output channels, and a bottleneck that fits them."""
        raise NotImplementedError

    def _own_range(self, i: int, block: Block) -> tuple[int, int]:
        """Lowest and highest output channels of block ``i``, whatever its neighbours are."""
        return (8, self.channel_limit) if block.btn else (block.out_channels, block.out_channels)

    def _movers_of(self, block: Block, i: int, moves: Sequence[str]) -> tuple:
        """The methods that may change block ``i``; each returns the same structure object where nothing changes."""
        if i == 0:
            return (self._move_stem,)
        return tuple(getattr(self, f'_move_{name}') for name in moves) if block.btn else ()

    def _move_out(self, structure: Structure, i: int, rng: Random) -> Structure:
        low, high = self._out_range(structure, i)
        out = self._draw_channels(structure[i].out_channels, low, high, rng)
        return structure if out == structure[i].out_channels else self._give_way(structure, i, out)

    def _all_steps(self, channels: int) -> tuple[int, ...]:
        """The channels that each step leads to."""
        return tuple(round_to_8(scale * channels + step) for scale, step in self.channel_steps)

    def _draw_channels(self, channels: int, low: int, high: int, rng: Random) -> int:
        """Other channels after one random step, from ``low`` to ``high``; the same where as many tries as there are steps change nothing."""
        steps = self._stepped[channels]
        for _ in steps:
            drawn = steps[int(rng() * len(steps))]
            if drawn > high:
                drawn = high
            if drawn < low:
                drawn = low
            if drawn != channels:
                return drawn
        return channels

    def _out_range(self, structure: Structure, i: int) -> tuple[int, int]:
        """Lowest and highest output channels that block ``i`` may get."""
        (low, high), block, growth = self.out_ranges[i], structure[i], self.growth
        after = structure[i + 1].out_channels if i + 1 < len(structure) else None
        if not self.reference:
            if growth and i == 1:  # the stem does not give way
                high = min(high, max(growth * block.in_channels, round_to_8(after / growth) if after else 0))
            return max(low, structure[0].out_channels), high
        low, high = max(low, block.in_channels), high if after is None else min(high, after)
        if growth:
            high = min(high, growth * block.in_channels)
            return max(low, round_to_8(after / growth) if after else 0), high
        return min(low, high), high

    def _give_way(self, structure: Structure, i: int, out: int) -> Structure:
        """Give block ``i`` ``out`` channels, and change its neighbours so that channels stay in order and within ``growth``."""
        blocks, growth = list(structure), self.growth
        blocks[i] = self._with_width(blocks[i], out)
        first, width = i, out
        while first > 1:
            before = blocks[first - 1].out_channels
            wanted = min(before, width)
            if growth:  # rounded up, because the factor would be exceeded otherwise
                wanted = max(wanted, -(-width // (8 * growth)) * 8)
            if wanted == before:
                break
            first, width = first - 1, wanted
            blocks[first] = self._with_width(blocks[first], width)
        for j in range(first + 1, i + 1):
            blocks[j] = set_in(blocks[j], blocks[j - 1].out_channels)
        width = out
        for j in range(i + 1, len(blocks)):
            block, before = blocks[j], width
            if block.in_channels == before:
                break
            if block.btn:
                wanted = max(block.out_channels, before)
                if growth and wanted > growth * before:
                    wanted = growth * before
                if wanted != block.out_channels:
                    block = self._with_width(block, wanted)
            blocks[j] = set_in(block, before)
            width = block.out_channels
        return tuple(blocks)

    def _move_stem(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, (low, high) = structure[0], self.stem_range
        high = min(high, structure[1].out_channels)
        out = self._draw_channels(block.out_channels, min(low, high), high, rng)
        return structure if out == block.out_channels else with_out(structure, 0, set_out(block, out))

    def _move_kernel(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, choices = structure[i], self.kernel_choices[i]
        for _ in choices:
            kt, k = choices[int(rng() * len(choices))]
            if k != block.kernel or kt != block.kt:
                return with_block(structure, i, set_kt(set_kernel(block, k), kt))
        return structure

    def _move_depth(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, cap = structure[i], self.depth_caps[i]
        for _ in DEPTH_STEPS:
            layers = min(max(1, block.layers + DEPTH_STEPS[int(rng() * 4)]), cap)
            if layers != block.layers:
                child = with_block(structure, i, self._with_depth(block, layers))
                if self.reference or rng() < 0.5:
                    return child
                # Deeper and narrower, or the reverse: with an exponent of 0.5 the cost stays about the same.
                return self._scale_width(child, i, (block.layers / layers) ** rng())
        return structure

    def _scale_width(self, structure: Structure, i: int, factor: float) -> Structure:
        """Scale output channels and bottleneck of block ``i`` within their limits."""
        low, high = self._out_range(structure, i)
        out = max(min(round_to_8(factor * structure[i].out_channels), high), low)
        return structure if out == structure[i].out_channels else self._give_way(structure, i, out)

    def _with_depth(self, block: Block, layers: int) -> Block:
        return set_layers(block, layers)

    def _check(self, structure: Structure) -> None:
        if len(structure) < 2:
            raise ConfigError('needs a stem and at least one super block', field='structure', received=len(structure))
        last = len(structure) - 1
        for i, block in enumerate(structure):
            wanted = (self.stem_family,) if i == 0 else (self.family, self.stem_family) if i == last else (self.family,)
            if block.type not in wanted:
                message = f'{type(self).__name__} takes {" or ".join(wanted)} here'
                raise ConfigError(message, field=f'structure: block {i}: class', received=block.type)


def with_block(structure: Structure, i: int, block: Block) -> Structure:
    """Replace block ``i`` by one with the same output channels."""
    return structure[:i] + (block,) + structure[i + 1 :]


def with_out(structure: Structure, i: int, block: Block) -> Structure:
    """Replace block ``i``, and set the input channels of the next block to its output channels."""
    if i + 1 == len(structure):
        return structure[:i] + (block,)
    return structure[:i] + (block, set_in(structure[i + 1], block.out_channels)) + structure[i + 2 :]
