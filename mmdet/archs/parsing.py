"""Conversion between structures and the block dicts of files and configs, which are checked here.

A block dict has the keys of LightNAS: ``class``, ``in``, ``out``, ``k`` (kernel), ``s`` (stride), for super blocks also ``L`` (units) and ``btn``
(bottleneck channels), ``kt`` (temporal kernel) in 3-D, and ``nbitsA``/``nbitsW`` (bits of activations and weights) for quantised blocks.
"""

from collections.abc import Mapping, Sequence
from os import PathLike

from ..errors import DataError
from .blocks import BlockFamily, families, family_of
from .structure import Block, Structure

_ALWAYS = ('class', 'in', 'out', 'k')
_OPTIONAL = ('s', 'nbitsA', 'nbitsW', 'act', 'p', 'inner_class', 'force_resproj_skip')
LARGEST = 1_000_000  # channels, groups or units
ACTIVATIONS = ('relu', 'relu6', 'silu', 'swish', 'sigmoid', 'learkyrelu', 'leakyrelu')
BITS = range(2, 9)


def parse_structure(
    blocks: Sequence[Mapping], *, file: str | PathLike | None = None, record: str | None = None
) -> Structure:
    """Check block dicts and convert them to a structure.

    The ``in`` of a block must be the ``out`` of the one before, and the families must be all 2-D or all 3-D. Files of LightNAS 1 and of DAMO-YOLO
    give every convolution of a full-precision network 8 bits, or fewer or more than it has. A structure whose bits are all 8 is therefore read as
    full precision, unless one of its families is quantised.

    Args:
        blocks: block dicts (see the head of this module), first block first.
        file: where they come from, for error messages.
        record: which structure of the file they are, for error messages.

    Raises:
        DataError: naming file, block index and key, what is allowed and what was received.
    """

    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        raise DataError('a structure must be a list of blocks', file=file, record=record or None, received=blocks)
    if not blocks:
        raise DataError('a structure must have at least one block', file=file, record=record or None, received=blocks)
    parsed = [_parse_block(block, block_place(file, record, i)) for i, block in enumerate(blocks)]
    for i, (before, block) in enumerate(zip(parsed, parsed[1:]), start=1):
        where = block_place(file, record, i)
        if block.in_channels != before.out_channels:
            message = f'must equal out of block {i - 1}, which is {before.out_channels}'
            raise DataError(message, field='in', received=block.in_channels, **where)
        if family_of(block.type).dims != family_of(parsed[0].type).dims:
            message = f'2-D and 3-D families cannot be mixed; block 0 is {parsed[0].type}'
            raise DataError(message, field='class', received=block.type, **where)
    quantised_family = any(family_of(block.type).quantised for block in parsed)
    if not quantised_family and all(set(block.bits_a + block.bits_w) <= {8} for block in parsed):
        parsed = [block._replace(bits_a=(), bits_w=()) for block in parsed]
    return tuple(parsed)


def block_place(file: str | PathLike | None, record: str | None, index: int) -> dict:
    """The arguments by which an error names a block: the file, and the structure with the index of the block."""
    return dict(file=file, record=f'{record}, block {index}' if record else f'block {index}')


def structure_to_dicts(structure: Sequence[Block]) -> list[dict]:
    """The inverse of :func:`parse_structure`; optional keys are given only where they differ from their defaults."""
    dicts = []
    for block in structure:
        family = family_of(block.type)
        entry: dict = dict(zip(('class', 'in', 'out', 'k', 's'), block))
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


def modern_class_name(name: str) -> str:
    """Name of a block family in LightNAS 2, given that of version 1 or 2 (``SuperResConvK1KX`` -> ``SuperResK1KX``)."""
    return name.replace('ResConv', 'Res', 1) if name.startswith(('SuperResConv', 'SuperQuantResConv')) else name


def _parse_block(block: Mapping, where: dict) -> Block:
    """Check one block dict without regard to the others, and convert it."""
    if not isinstance(block, Mapping):
        raise DataError('a block must be a dict with the keys class, in, out, k, ...', received=block, **where)
    name = block.get('class')
    modern = modern_class_name(name) if isinstance(name, str) else None
    if modern not in families():
        raise DataError(f'must be one of {sorted(families())}', field='class', received=name, **where)
    family = family_of(modern)
    required = _ALWAYS + (('L', 'btn') if family.is_super else ()) + (('kt',) if family.dims == 3 else ())
    missing = [key for key in required if key not in block]
    if missing:
        raise DataError(
            f'missing; {name} needs {list(required)}', field=missing[0], received=sorted(map(str, block)), **where
        )
    allowed = required + _OPTIONAL + (() if family.is_super else ('g',)) + (('se_ratio',) if family.has_se else ())
    for key in block:
        if key not in allowed:
            raise DataError(f'unknown key; {name} takes {sorted(allowed)}', field=key, received=block[key], **where)

    def integer(key: str, default: int, choices: Sequence[int] | None = None) -> int:
        value = block.get(key, default)
        # Not by utils.checks: exported networks contain this module and have torch only.
        good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST
        if not good or (choices is not None and value not in choices):
            wanted = f'one of {list(choices)}' if choices is not None else f'an integer in 1..{LARGEST}'
            raise DataError(f'must be {wanted}', field=key, received=value, **where)
        return value

    kernel, layers = integer('k', 1, range(1, 32, 2)), integer('L', 1)
    padding = (kernel - 1) // 2
    if block.get('p', padding) != padding:
        raise DataError(f'padding must keep the size: (k-1)//2 = {padding}', field='p', received=block['p'], **where)
    if forced := block.get('force_resproj_skip'):
        raise DataError('only False is supported', field='force_resproj_skip', received=forced, **where)
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
        message = 'nbitsA and nbitsW must be given together'
        raise DataError(message, field='nbitsA', received=block.get('nbitsA'), **where)
    if family.quantised and not bits_a:
        raise DataError(f'missing; {name} needs bit widths', field='nbitsA', received=sorted(map(str, block)), **where)
    return Block(
        modern, in_channels, out_channels, kernel, integer('s', 1, (1, 2)), layers,
        integer('btn', 1) if family.is_super else 0, integer('kt', 1, range(1, 32, 2)) if family.dims == 3 else 1,
        bits_a, bits_w, groups, act, se_ratio,
    )  # fmt: skip


def _parse_bits(block: Mapping, key: str, convs: int, family: type[BlockFamily], where: dict) -> tuple[int, ...]:
    """The bit widths of a block's convolutions: a list for a super block; an integer or a list of one for a single convolution."""
    value = block.get(key)
    if value is None or value == []:
        return ()
    values = value if isinstance(value, list | tuple) else [value]
    if values is value and family.is_super and not family.quantised and set(map(str, values)) == {'8'}:
        return (8,) * convs  # files of DAMO-YOLO lengthened by hand have fewer of these than convolutions
    good = all(isinstance(bits, int) and not isinstance(bits, bool) and bits in BITS for bits in values)
    if not good or len(values) != convs or (family.is_super and values is not value):
        wanted = f'a list of {convs} integers' if family.is_super else 'an integer'
        raise DataError(f'must be {wanted} in {BITS[0]}..{BITS[-1]}', field=key, received=value, **where)
    return tuple(values)
