"""What a search space is: which structures can be reached from a start, one block mutation at a time.

A space never changes the number of blocks, their families and their strides, so everything that depends on those only (kernel limits by
resolution, depth caps, which blocks move) is worked out once, in :meth:`Space.start`. A mutation then replaces one block of the tuple, and the
input width of the next one. Mutation is the larger half of a search's time: the methods here index block fields by position and draw from a bare
``random()`` function for that reason.

Positions in a :class:`~mmdet.nas.structure.Block`: 0 type, 1 in, 2 out, 3 kernel, 4 stride, 5 layers, 6 btn, 7 kt, 8 bits_a, 9 bits_w, 10 ...
"""

from collections.abc import Callable, Sequence

from ...utils.errors import ConfigError
from ..blocks import family_of
from ..structure import Block, Structure

Random = Callable[[], float]
make_block = Block._make

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
        fine_steps: besides scaling channels, move them by 8 to 32. The same structures can be reached, the last percent of a budget sooner.
        reference: behave as LightNAS 2.0 does, for comparisons: the last block never moves, changes that change nothing count, no fine steps.

    Attributes:
        family: class of the super blocks.
        scales: factors on channels.
        kernels: (kt, k) pairs.
        max_channels: largest number of output channels.
        first_depth: cap on the units of block 1.
        unmoved: blocks whose depth is no share of the layers budget, in the caps of the others.
    """

    family: str
    stem_family = 'ConvKXBNRELU'
    scales: tuple[float, ...] = (2.0, 1.5, 1.25, 0.8, 0.6, 0.5)
    kernels: tuple[tuple[int, int], ...] = ((1, 3), (1, 5))
    max_channels = 2048
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
        fine_steps: bool = True,
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
        if fine_steps and not reference:
            self.channel_steps += tuple((1.0, step) for step in FINE_STEPS)
        self._movers = self._bind(self.moves)

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

    def mutate(self, structure: Structure, rng: Random, minor: bool = False) -> Structure:
        """One block mutation; ``minor`` moves channels only.

        Several blocks are tried in turn until the depth fits the layers budget; where none does, the last try is given back.
        """
        movable, child = self.movable, structure
        for _ in structure:
            i = movable[int(rng() * len(movable))]
            child = self._mutate_block(structure, i, rng, minor)
            if child is structure and not self.reference:
                continue
            if self.max_units is None or self._units(child) <= self.max_units:
                return child
        return child

    def child(self, parent: Structure, rng: Random, minor: bool = False) -> Structure:
        """``block_num`` mutations in turn."""
        for _ in range(self.block_num):
            parent = self.mutate(parent, rng, minor)
        return parent

    # -- for subclasses --------------------------------------------------------------------------------------------------

    def _bind(self, names: Sequence[str]) -> tuple:
        return tuple(getattr(self, f'_move_{name}') for name in names)

    def _mutate_block(self, structure: Structure, i: int, rng: Random, minor: bool) -> Structure:
        """One move of one block, drawn uniformly; the same object where nothing changes."""
        if i == 0:
            return self._move_stem(structure, rng)
        if not structure[i].btn:
            return structure
        movers = self._bind(self.minor_moves) if minor else self._movers
        return movers[int(rng() * len(movers))](structure, i, rng)

    def _move_stem(self, structure: Structure, rng: Random) -> Structure:
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
                return with_block(structure, i, self._with_depth(block, layers))
        return structure

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
