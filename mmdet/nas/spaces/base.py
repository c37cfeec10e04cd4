"""What a search space is: which structures can be reached from a start, one block mutation at a time.

A space never changes the number of blocks, their families and their strides, so everything that depends on those only (kernel limits by
resolution, depth caps, which blocks move) is worked out once, in :meth:`Space.start`. A mutation then replaces one block of the tuple, and the
input width of the next one. Mutation is the larger half of a search's time: the methods here index block fields by position and draw from a bare
``random()`` function for that reason.

Positions in a :class:`~mmdet.archs.structure.Block`: 0 type, 1 in, 2 out, 3 kernel, 4 stride, 5 layers, 6 btn, 7 kt, 8 bits_a, 9 bits_w, 10 ...
"""

from collections.abc import Callable, Sequence
from functools import partial

from ...archs.blocks import family_of
from ...archs.structure import Block, Structure
from ...errors import ConfigError

Random = Callable[[], float]
make_block: Callable[..., Block] = partial(tuple.__new__, Block)  # Block._make without its check of the length

DEPTH_STEPS = (-2, -1, 1, 2)
STEM_LIMIT = 32
FINE_STEPS = (-32, -16, -8, -8, 8, 8, 16, 32)


def round_to_8(value: float) -> int:
    """The nearest multiple of 8 (ties to the even one), at least 8."""
    return max(8, 8 * round(value / 8))


class Space:
    """Base of the spaces; a subclass names its families, its choices and its moves.

    Args:
        image_size: side of the input in pixels, or (height, width); kernels shrink where 1.5 times their side exceeds a block's input.
        block_num: block mutations per child.
        exclude_stem: keep the stem as it is.
        maximum_channel: upper limit of every block's output channels, instead of the space's own.
        reference: behave as LightNAS 2.0 does, for comparisons: the last block never moves, changes that change nothing count, channels are only
            scaled, and stop at those of the neighbouring blocks.

    Else channels move by 8 to 32, too, and a block's neighbours give way: output channels that would exceed those of the next block raise them.
    The same structures can be reached; two blocks of equal width, or one four times as wide as the one before, are no dead end.

    Attributes:
        family: class of the super blocks.
        scales: factors on channels.
        kernels: (kt, k) pairs.
        max_channels: largest number of output channels.
        growth: how many times wider than the block before a block may be; None for any.
        first_depth: cap on the units of block 1.
        unmoved: blocks whose depth is no share of the layers budget, in the caps of the others.
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
        sides = [image_size] if isinstance(image_size, int) else image_size
        if not sides or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ConfigError(
                'must be an integer >= 1 or (height, width)', field='space.image_size', received=image_size
            )
        for key, value in (('block_num', block_num), ('maximum_channel', maximum_channel)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError('must be an integer >= 1', field=f'space.{key}', received=value)
        self.side = min(sides)
        self.block_num, self.exclude_stem, self.reference = block_num, bool(exclude_stem), bool(reference)
        self.channel_limit = maximum_channel or self.max_channels
        self.channel_steps = tuple((scale, 0) for scale in self.scales)
        if not reference:
            self.channel_steps += tuple((1.0, step) for step in FINE_STEPS)

    def start(self, structure: Structure, max_layers: int | None = None) -> None:
        """Prepare for the structures that share a start's families and strides.

        Args:
            structure: what the search starts from.
            max_layers: upper bound of the layers budget; None: depths are free.

        Raises:
            ConfigError: the structure is not one of this space, or it has no room.
        """
        self._check(structure)
        n = len(structure)
        convs = family_of(self.family).convs_per_unit
        singles = sum(block.btn == 0 for block in structure)
        self.max_units = None if max_layers is None else (int(max_layers) - singles) // convs
        cap = 1 << 20
        if max_layers is not None:
            cap = max(1, int(max_layers) // convs // max(n - self.unmoved, 1))
        self.depth_caps = [self.first_depth if i == 1 else cap for i in range(n)]
        self.kernel_choices, side = [], self.side
        for block in structure:
            allowed = tuple(pair for pair in self.kernels if 1.5 * pair[1] <= side)
            self.kernel_choices.append(allowed or self.kernels[:1])
            side = max(side // block.stride, 1)
        movable = [i for i, block in enumerate(structure) if block.btn or (i == 0 and not self.exclude_stem)]
        if self.reference:  # numpy's half-open randint(0, n - 1): the last block is left out
            movable = [i for i in range(int(self.exclude_stem), n - 1)]
        if not movable:
            raise ConfigError('the structure has no block that may change', field='space', received=len(structure))
        self.movable = tuple(movable)
        self.out_ranges = [self._own_range(i, block) for i, block in enumerate(structure)]
        if not self.reference:  # within reach of the blocks before and after, which give way
            for i in range(2, n):
                self.out_ranges[i] = max(self.out_ranges[i][0], self.out_ranges[i - 1][0]), self.out_ranges[i][1]
            for i in range(n - 2, 0, -1):
                self.out_ranges[i] = self.out_ranges[i][0], min(self.out_ranges[i][1], self.out_ranges[i + 1][1])
        self._movers = [self._movers_of(block, i, self.moves) for i, block in enumerate(structure)]
        self._minor_movers = [self._movers_of(block, i, self.minor_moves) for i, block in enumerate(structure)]

    def mutate(self, structure: Structure, rng: Random, minor: bool = False) -> Structure:
        """One block mutation; ``minor`` moves channels only.

        Several blocks are tried in turn until the depth fits the layers budget; where none does, the last try is given back.
        """
        movable, all_movers, child = self.movable, self._minor_movers if minor else self._movers, structure
        for _ in structure:
            i = movable[int(rng() * len(movable))]
            movers = all_movers[i]
            child = movers[int(rng() * len(movers))](structure, i, rng) if movers else structure
            if child is structure and not self.reference:
                continue
            if self.max_units is None or child[i][5] <= structure[i][5] or self._units(child) <= self.max_units:
                return child
        return child

    def child(self, parent: Structure, rng: Random, minor: bool = False) -> Structure:
        """``block_num`` mutations in turn."""
        for _ in range(self.block_num):
            parent = self.mutate(parent, rng, minor)
        return parent

    # -- for subclasses --------------------------------------------------------------------------------------------------

    def _with_width(self, block: Block, out: int) -> Block:
        """A block with other output channels, and a bottleneck that suits them."""
        raise NotImplementedError

    def _own_range(self, i: int, block: Block) -> tuple[int, int]:
        """Lowest and highest output channels of block ``i``, whatever its neighbours are."""
        return (8, self.channel_limit) if block[6] else (block[2], block[2])

    # -- moves: each returns the same object where nothing changes --------------------------------------------------------

    def _movers_of(self, block: Block, i: int, moves: Sequence[str]) -> tuple:
        if i == 0:
            return (self._move_stem,)
        return tuple(getattr(self, f'_move_{name}') for name in moves) if block[6] else ()

    def _move_out(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, steps = structure[i], self.channel_steps
        low, high = self._out_range(structure, i)
        for _ in steps:
            scale, step = steps[int(rng() * len(steps))]
            out = max(min(round_to_8(scale * block[2] + step), high), low)
            if out != block[2]:
                return self._give_way(structure, i, out)
        return structure

    def _out_range(self, structure: Structure, i: int) -> tuple[int, int]:
        """What the output channels of block ``i`` may be."""
        (low, high), block, growth = self.out_ranges[i], structure[i], self.growth
        after = structure[i + 1][2] if i + 1 < len(structure) else None
        if not self.reference:
            if growth and i == 1:  # the stem does not give way
                high = min(high, max(growth * block[1], round_to_8(after / growth) if after else 0))
            return max(low, structure[0][2]), high
        low, high = max(low, block[1]), high if after is None else min(high, after)
        if growth:
            high = min(high, growth * block[1])
            return max(low, round_to_8(after / growth) if after else 0), high
        return min(low, high), high

    def _give_way(self, structure: Structure, i: int, out: int) -> Structure:
        """Block ``i`` with ``out`` channels; its neighbours keep their channels in order and within ``growth``."""
        blocks, growth = list(structure), self.growth
        blocks[i] = self._with_width(blocks[i], out)
        j, width = i, out
        while j > 1:
            before = blocks[j - 1][2]
            wanted = min(before, width)
            if growth:
                wanted = max(
                    wanted, -(-width // (8 * growth)) * 8
                )  # rounded up: rounded down, the factor would be exceeded
            if wanted == before:
                break
            j, width = j - 1, wanted
            blocks[j] = self._with_width(blocks[j], width)
        first, j, width = j, i + 1, out
        while j < len(blocks):
            block, before = blocks[j], blocks[j - 1][2]
            if block[1] == before:
                break
            if block[6]:
                wanted = max(block[2], width)
                if growth and wanted > growth * width:
                    wanted = growth * width
                if wanted != block[2]:
                    block = self._with_width(block, wanted)
            blocks[j] = make_block((block[0], before) + block[2:])
            j, width = j + 1, block[2]
        for j in range(first + 1, i + 1):
            block = blocks[j]
            blocks[j] = make_block((block[0], blocks[j - 1][2]) + block[2:])
        return tuple(blocks)

    def _move_stem(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, (low, high) = structure[0], self.stem_range
        high = min(high, structure[1][2]) if len(structure) > 1 else high
        for _ in self.channel_steps:
            scale, step = self.channel_steps[int(rng() * len(self.channel_steps))]
            out = min(max(round_to_8(scale * block[2] + step), low), high)
            if out != block[2]:
                return with_out(structure, 0, make_block(block[:2] + (out,) + block[3:]))
        return structure

    def _move_kernel(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, choices = structure[i], self.kernel_choices[i]
        for _ in choices:
            kt, k = choices[int(rng() * len(choices))]
            if k != block[3] or kt != block[7]:
                return with_block(structure, i, make_block(block[:3] + (k,) + block[4:7] + (kt,) + block[8:]))
        return structure

    def _move_depth(self, structure: Structure, i: int, rng: Random) -> Structure:
        block, cap = structure[i], self.depth_caps[i]
        for _ in DEPTH_STEPS:
            layers = min(max(1, block[5] + DEPTH_STEPS[int(rng() * 4)]), cap)
            if layers != block[5]:
                child = with_block(structure, i, self._with_depth(block, layers))
                if self.reference or rng() < 0.5:
                    return child
                # deeper and narrower, or the reverse: at 0.5 the cost stays about the same
                return self._scale_width(child, i, (block[5] / layers) ** rng())
        return structure

    def _scale_width(self, structure: Structure, i: int, factor: float) -> Structure:
        """Block ``i`` with its output channels and bottleneck scaled, as far as they may be."""
        low, high = self._out_range(structure, i)
        out = max(min(round_to_8(factor * structure[i][2]), high), low)
        return structure if out == structure[i][2] else self._give_way(structure, i, out)

    def _with_depth(self, block: Block, layers: int) -> Block:
        return make_block(block[:5] + (layers,) + block[6:])

    @staticmethod
    def _units(structure: Structure) -> int:
        total = 0
        for block in structure:
            if block[6]:
                total += block[5]
        return total

    def _check(self, structure: Structure) -> None:
        if len(structure) < 2:
            raise ConfigError('needs a stem and at least one super block', field='structure', received=len(structure))
        last = len(structure) - 1
        for i, block in enumerate(structure):
            wanted = (self.stem_family,) if i == 0 else (self.family, self.stem_family) if i == last else (self.family,)
            if block.type not in wanted:
                raise ConfigError(
                    f'{type(self).__name__} takes {" or ".join(wanted)} here',
                    field=f'structure: block {i}: class',
                    received=block.type,
                )


def with_block(structure: Structure, i: int, block: Block) -> Structure:
    """A structure with block ``i`` replaced by one of the same output channels."""
    return structure[:i] + (block,) + structure[i + 1 :]


def with_out(structure: Structure, i: int, block: Block) -> Structure:
    """A structure with block ``i`` replaced, and the input of the next one set to its output."""
    if i + 1 == len(structure):
        return structure[:i] + (block,)
    after = structure[i + 1]
    return structure[:i] + (block, make_block((after[0], block[2]) + after[2:])) + structure[i + 2 :]
