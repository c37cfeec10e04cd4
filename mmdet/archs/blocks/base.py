"""Block families: each describes a block as a list of residual units, and a unit as a list of convolutions.

FLOPs, parameters, layers, feature memory, latency operators and all closed-form scores are computed from these lists. A new family only has to
write its ``unit`` to have every score and budget.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import NamedTuple

from mmdet.registry import NAS_BLOCKS

from ..structure import Block, stage_ends

Bits = tuple[tuple[int, int], ...]


class Conv(NamedTuple):
    """A convolution followed by batch norm.

    ``kt`` is the temporal kernel, whose stride is 1. ``bits_a`` and ``bits_w`` of 0 mean full precision.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    kt: int = 1
    bits_a: int = 0
    bits_w: int = 0

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved by itself."""
        return self.groups > 1 and self.groups == self.in_channels

    @property
    def taps(self) -> int:
        """Number of positions of the kernel, in space and time."""
        return self.kernel * self.kernel * self.kt

    @property
    def fan_in_channels(self) -> int:
        """Number of input channels that one output channel is computed from."""
        return self.in_channels // self.groups


class Unit(NamedTuple):
    """A residual unit, or a single convolution.

    Attributes:
        convs: the convolutions of the main path, in order. An activation follows each; after the last one it follows the addition.
        residual: whether a skip path is added to the main path.
        pooled: whether the skip path is average-pooled (2x2, stride 2).
        projection: the 1x1 convolution of the skip path, None where the skip is an identity.
        se_channels: hidden channels of a squeeze-excitation on the input of the last convolution; 0 for none.
    """

    convs: tuple[Conv, ...]
    residual: bool = False
    pooled: bool = False
    projection: Conv | None = None
    se_channels: int = 0


# Constructors that take one tuple of all fields. A search makes some twenty of these for each candidate, and the argument handling of a
# NamedTuple's own constructor takes half of that time.
make_conv: Callable[[tuple], Conv] = partial(tuple.__new__, Conv)
make_unit: Callable[[tuple], Unit] = partial(tuple.__new__, Unit)


def bottleneck_convs(block: Block, in_channels: int, stride: int, bits: Bits, groups: int = 1) -> tuple[Conv, ...]:
    """The convolutions of a unit with a bottleneck: 1x1 to btn, [kt x] k x k strided in ``groups`` groups, 1x1 to out."""
    btn = block.btn
    (a1, w1), (a2, w2), (a3, w3) = bits
    return (
        make_conv((in_channels, btn, 1, 1, 1, 1, a1, w1)),
        make_conv((btn, btn, block.kernel, stride, groups, block.kt, a2, w2)),
        make_conv((btn, block.out_channels, 1, 1, 1, 1, a3, w3)),
    )


class BlockFamily:
    """Base of the block families, which are registered under the ``class`` of their block dicts.

    Subclasses set the class attributes and write :meth:`unit`.

    Attributes:
        dims: 2 for images, 3 for video.
        is_super: whether blocks have several units and a bottleneck.
        convs_per_unit: number of convolutions in the main path of one unit.
        quantised: whether blocks must have bit widths.
        has_se: whether units hold a squeeze-excitation.
        activation: the activation of blocks that do not name one.
    """

    dims = 2
    is_super = True
    convs_per_unit = 1
    quantised = False
    has_se = False
    activation = 'relu'

    @classmethod
    def unit(cls, block: Block, index: int, in_channels: int, stride: int, bits: Bits) -> Unit:
        """Describe one unit of a block.

        Args:
            index: position of the unit in the block; all but unit 0 are alike, except for their bits.
            in_channels: input channels of the unit.
            stride: stride of the unit.
            bits: (bits_a, bits_w) of each of its convolutions; (0, 0) in full precision.
        """
        raise NotImplementedError

    @classmethod
    def runs(cls, block: Block) -> tuple[tuple[Unit, int], ...]:
        """Runs of equal units as pairs (unit, count), the strided unit first; in full precision there are at most two runs."""
        n, layers, out = cls.convs_per_unit, block.layers, block.out_channels
        bits = tuple(zip(block.bits_a, block.bits_w)) if block.bits_a else ((0, 0),) * n
        first = cls.unit(block, 0, block.in_channels, block.stride, bits[:n])
        if layers == 1:
            return ((first, 1),)
        if not block.bits_a:
            return (first, 1), (cls.unit(block, 1, out, 1, bits), layers - 1)
        later = [cls.unit(block, i, out, 1, bits[n * i : n * (i + 1)]) for i in range(1, layers)]
        return tuple([(unit, 1) for unit in (first, *later)])

    @classmethod
    def units(cls, block: Block) -> tuple[Unit, ...]:
        """The units of a block in order; equal ones are the same object."""
        return tuple([unit for unit, count in cls.runs(block) for _ in range(count)])


@cache
def family_of(name: str) -> type[BlockFamily]:
    """The family registered under ``name``.

    Raises:
        KeyError: there is none.
    """
    family = NAS_BLOCKS.get(name)
    if family is None:
        raise KeyError(f'no block family {name!r}; registered are {sorted(families())}')
    return family


def families() -> dict[str, type[BlockFamily]]:
    """All registered families by name."""
    return dict(NAS_BLOCKS.module_dict)


def units_of(block: Block) -> tuple[Unit, ...]:
    """The units of a block of any family."""
    return family_of(block.type).units(block)


@lru_cache(maxsize=4)
def unit_runs(block: Block) -> tuple[tuple[Unit, int], ...]:
    """:meth:`BlockFamily.runs` of a block of any family; cached, because several measures ask for the same block in turn."""
    return family_of(block.type).runs(block)


def conv_layers(block: Block) -> int:
    """Number of convolutions in the main path, without projections and squeeze-excitation."""
    return block.layers * family_of(block.type).convs_per_unit


class Stage(NamedTuple):
    """A stage of a structure: its last block, and the totals from the first block of the structure to there.

    Attributes:
        end: index of its last block.
        units: number of units (stem and head count one each).
        layers: number of convolutions, without projections and squeeze-excitation.
        channels: output channels.
        side: side of its feature map in pixels, halved and rounded down at each stride.
    """

    end: int
    units: int
    layers: int
    channels: int
    side: int


def stages(structure: Sequence[Block], image_size: int = 224) -> list[Stage]:
    """The stages of a structure for a square input of ``image_size`` pixels."""
    ends = set(stage_ends(structure))
    found, units, layers, side = [], 0, 0, image_size
    for i, block in enumerate(structure):
        units += block.layers
        layers += conv_layers(block)
        side //= block.stride
        if i in ends:
            found.append(Stage(i, units, layers, block.out_channels, side))
    return found


def is_3d(structure: Sequence[Block]) -> bool:
    """Whether the structure is a video network (its blocks are 3-D families)."""
    return bool(structure) and family_of(structure[0].type).dims == 3
