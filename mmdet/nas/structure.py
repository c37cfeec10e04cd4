"""Structures: a network of the search as a tuple of blocks.

A structure is a plain ``tuple`` of :class:`Block`; a block is a ``NamedTuple`` of small integers. Both are immutable, hashable, comparable and
picklable, so a mutation replaces one element (``block._replace(layers=3)``), scores and budgets remember what a block contributes in a dict
keyed by the block itself (:class:`BlockMemo`), and a candidate that differs from its parent in two blocks costs two misses and a handful of
lookups. Nothing here imports torch.

On disk a block is a dict with the keys of the reference: ``class``, ``in``, ``out``, ``k``, ``s``, for super blocks also ``L`` (units) and
``btn`` (bottleneck channels), ``kt`` in 3-D, ``nbitsA``/``nbitsW`` for quantised ones.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..utils.errors import DataError

MEMO_LIMIT = 1 << 17  # blocks a memo keeps: about 30 MB; a search of 500k evaluations sees a few 100k distinct ones


class Block(NamedTuple):
    """One block of a structure: a convolution (stem, head) or a super block of ``layers`` residual units.

    Unit 0 of a super block carries the stride and goes from ``in_channels`` to ``out_channels``; the others keep ``out_channels`` at stride 1.
    All units share kernel and bottleneck. ``bits_a``/``bits_w`` hold the bit widths of activations and weights per convolution, unit by unit
    (empty: full precision). ``act`` of None is the family's own activation.
    """

    type: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    layers: int = 1
    btn: int = 0
    kt: int = 1
    bits_a: tuple[int, ...] = ()
    bits_w: tuple[int, ...] = ()
    groups: int = 1
    act: str | None = None
    se_ratio: float = 0.25


Structure = tuple[Block, ...]


class BlockMemo(dict):
    """What ``compute`` gives for a key (a block, or a tuple that holds one), computed once; emptied when it has ``limit`` entries."""

    __slots__ = ('compute', 'limit')

    def __init__(self, compute: Callable, limit: int = MEMO_LIMIT):
        super().__init__()
        self.compute = compute
        self.limit = limit

    def __missing__(self, key):
        value = self.compute(key)
        if len(self) >= self.limit:
            self.clear()
        self[key] = value
        return value

    def __reduce__(self):  # a copy sent to another process starts empty
        return type(self), (self.compute, self.limit)


def stage_ends(structure: Sequence[Block]) -> list[int]:
    """Indices of the last block of each stage: the one before a block of stride 2, and the last of all."""
    last = len(structure) - 1
    return [i for i in range(last + 1) if i == last or structure[i + 1].stride == 2]


class Stage(NamedTuple):
    """A stage's last block, and what has accumulated up to there.

    Attributes:
        end: index of its last block.
        units: cumulative number of units (stem and head count one each).
        layers: cumulative number of convolutions, without projections and squeeze-excitation.
        channels: channels of its output.
        side: side of its feature map in pixels, halved with floor at each stride.
    """

    end: int
    units: int
    layers: int
    channels: int
    side: int


def stages(structure: Sequence[Block], image_size: int = 224) -> list[Stage]:
    """The stages of a structure for a square input of ``image_size`` pixels."""
    from .blocks import conv_layers

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
    from .blocks import family_of

    return bool(structure) and family_of(structure[0].type).dims == 3


def is_quantised(structure: Sequence[Block]) -> bool:
    """Whether any block has bit widths."""
    return any(block.bits_a for block in structure)


# -- from and to the reference's block dicts ------------------------------------------------------------------------------

_ALWAYS = ('class', 'in', 'out', 'k')
_OPTIONAL = ('s', 'nbitsA', 'nbitsW', 'act', 'p', 'inner_class', 'force_resproj_skip')
ACTIVATIONS = ('relu', 'relu6', 'silu', 'swish', 'sigmoid', 'learkyrelu', 'leakyrelu')
BITS = range(2, 9)


def parse_structure(blocks: Sequence[Mapping], *, file=None, record: str | None = None) -> Structure:
    """Block dicts to a checked structure.

    Channels must chain, families must be all 2-D or all 3-D. Files of the first version and of DAMO-YOLO carry ``nbits`` of 8 on every
    convolution of full-precision networks; a structure without a quantised family whose bits are all 8 is read as full precision.

    Args:
        blocks: dicts with the reference's keys, first block first.
        file, record: for messages.

    Raises:
        DataError: naming file, block index and key, what is allowed and what was received.
    """
    from .blocks import family_of

    def where(index: int | None = None) -> dict:
        parts = [record] if record else []
        if index is not None:
            parts.append(f'block {index}')
        return dict(file=file, record=', '.join(parts) or None)

    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        raise DataError('a structure must be a list of blocks', received=blocks, **where())
    if not blocks:
        raise DataError('a structure must have at least one block', received=blocks, **where())
    parsed = [_parse_block(block, where(i)) for i, block in enumerate(blocks)]
    for i, (before, block) in enumerate(zip(parsed, parsed[1:]), start=1):
        if block.in_channels != before.out_channels:
            raise DataError(
                f'must equal out of block {i - 1}, which is {before.out_channels}',
                field='in', received=block.in_channels, **where(i),
            )  # fmt: skip
        if family_of(block.type).dims != family_of(parsed[0].type).dims:
            raise DataError(
                f'2-D and 3-D families cannot be mixed; block 0 is {parsed[0].type}',
                field='class', received=block.type, **where(i),
            )  # fmt: skip
    quantised_family = any(family_of(block.type).quantised for block in parsed)
    if not quantised_family and all(set(block.bits_a + block.bits_w) <= {8} for block in parsed):
        parsed = [block._replace(bits_a=(), bits_w=()) for block in parsed]
    return tuple(parsed)


def structure_to_dicts(structure: Sequence[Block]) -> list[dict]:
    """The inverse of :func:`parse_structure`: dicts in the reference's keys, optional ones only where they differ from their defaults."""
    from .blocks import family_of

    dicts = []
    for block in structure:
        family = family_of(block.type)
        entry = {
            'class': block.type,
            'in': block.in_channels,
            'out': block.out_channels,
            'k': block.kernel,
            's': block.stride,
        }
        if family.is_super:
            entry.update(L=block.layers, btn=block.btn)
        if family.dims == 3:
            entry['kt'] = block.kt
        if block.bits_a:
            bits = (block.bits_a, block.bits_w)
            entry['nbitsA'], entry['nbitsW'] = map(list, bits) if family.is_super else (bits[0][0], bits[1][0])
        if block.groups != 1:
            entry['g'] = block.groups
        if block.act is not None:
            entry['act'] = block.act
        if block.se_ratio != 0.25:
            entry['se_ratio'] = block.se_ratio
        dicts.append(entry)
    return dicts


def describe(structure: Sequence[Block]) -> str:
    """One line for people: ``32 | 256/64·k3·L2 ... | 1280``, stride 1 of super blocks marked ``(s1)``."""
    parts = []
    for block in structure:
        if not block.btn:
            parts.append(str(block.out_channels))
            continue
        kernel = f'{block.kt}x{block.kernel}' if block.kt > 1 else str(block.kernel)
        parts.append(
            f'{block.out_channels}/{block.btn}·k{kernel}·L{block.layers}' + ('' if block.stride == 2 else '(s1)')
        )
    return ' | '.join(parts)


def modern_class_name(name: str) -> str:
    """Family name of the second version for one of the first (``SuperResConvK1KX`` -> ``SuperResK1KX``)."""
    return name.replace('ResConv', 'Res', 1) if name.startswith(('SuperResConv', 'SuperQuantResConv')) else name


def _parse_block(block: Mapping, where: dict) -> Block:
    """One block dict, checked by itself."""
    from .blocks import families, family_of

    if not isinstance(block, Mapping):
        raise DataError('a block must be a dict with the keys class, in, out, k, ...', received=block, **where)
    names = sorted(families())
    name = block.get('class')
    if not isinstance(name, str) or modern_class_name(name) not in names:
        raise DataError(f'must be one of {names}', field='class', received=name, **where)
    family = family_of(modern_class_name(name))
    required = _ALWAYS + (('L', 'btn') if family.is_super else ()) + (('kt',) if family.dims == 3 else ())
    missing = [key for key in required if key not in block]
    if missing:
        raise DataError(f'missing; {name} needs {list(required)}', field=missing[0], received=sorted(block), **where)
    allowed = required + _OPTIONAL + (() if family.is_super else ('g',)) + (('se_ratio',) if family.has_se else ())
    for key in block:
        if key not in allowed:
            raise DataError(f'unknown key; {name} takes {sorted(allowed)}', field=key, received=block[key], **where)

    def integer(key: str, default: int, choices=None) -> int:
        value = block.get(key, default)
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not good or (choices is not None and value not in choices):
            wanted = f'one of {list(choices)}' if choices is not None else 'an integer >= 1'
            raise DataError(f'must be {wanted}', field=key, received=value, **where)
        return value

    kernel, layers = integer('k', 1, range(1, 32, 2)), integer('L', 1)
    if block.get('p', (kernel - 1) // 2) != (kernel - 1) // 2:
        raise DataError(
            f'padding must keep the size: (k-1)//2 = {(kernel - 1) // 2}', field='p', received=block['p'], **where
        )
    if block.get('force_resproj_skip'):
        raise DataError(
            'only False is supported', field='force_resproj_skip', received=block['force_resproj_skip'], **where
        )
    act, se_ratio = block.get('act'), block.get('se_ratio', 0.25)
    if act is not None and act not in ACTIVATIONS:
        raise DataError(f'must be one of {list(ACTIVATIONS)}', field='act', received=act, **where)
    if isinstance(se_ratio, bool) or not isinstance(se_ratio, int | float) or not 0 < se_ratio <= 1:
        raise DataError('must be a number in (0, 1]', field='se_ratio', received=se_ratio, **where)
    groups, in_channels, out_channels = integer('g', 1), integer('in', 1), integer('out', 1)
    if in_channels % groups or out_channels % groups:
        raise DataError(f'must divide in ({in_channels}) and out ({out_channels})', field='g', received=groups, **where)
    convs = layers * family.convs_per_unit
    bits_a, bits_w = (_parse_bits(block, key, convs, family, where) for key in ('nbitsA', 'nbitsW'))
    if bool(bits_a) != bool(bits_w):
        raise DataError(
            'nbitsA and nbitsW must be given together', field='nbitsA', received=block.get('nbitsA'), **where
        )
    if family.quantised and not bits_a:
        raise DataError(f'missing; {name} needs bit widths', field='nbitsA', received=sorted(block), **where)
    return Block(
        family.name, in_channels, out_channels, kernel, integer('s', 1, (1, 2)), layers,
        integer('btn', 1) if family.is_super else 0, integer('kt', 1, range(1, 32, 2)) if family.dims == 3 else 1,
        bits_a, bits_w, groups, act, se_ratio,
    )  # fmt: skip


def _parse_bits(block: Mapping, key: str, convs: int, family, where: dict) -> tuple[int, ...]:
    """Bit widths per convolution; one integer stands for all of them on a block that is a single convolution."""
    value = block.get(key)
    if value is None or value == []:
        return ()
    values = value if isinstance(value, list | tuple) else [value]
    good = all(isinstance(bits, int) and not isinstance(bits, bool) and bits in BITS for bits in values)
    if not good or len(values) != convs or (family.is_super and values is not value):
        wanted = f'a list of {convs} integers' if family.is_super else 'an integer'
        raise DataError(f'must be {wanted} in {BITS[0]}..{BITS[-1]}', field=key, received=value, **where)
    return tuple(values)
