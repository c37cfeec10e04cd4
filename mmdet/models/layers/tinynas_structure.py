"""Reading a TinyNAS structure, checking it before a network is built from it, and its stages.

A structure is a list of blocks, each a dict: ``class``, ``in``, ``out``, ``k`` (kernel), ``s`` (stride, default 1); super blocks also ``L``
(units) and ``btn`` (bottleneck channels); 3-D blocks ``kt`` (kernel along time); quantised ones ``nbitsA`` and ``nbitsW``.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmdet.utils.errors import ConfigError

from .tinynas_blocks import ACTIVATIONS, CONV_BLOCKS, SUPER_BLOCKS

_CLASSES = {**CONV_BLOCKS, **{name: family.dims for name, family in SUPER_BLOCKS.items()}}
# DAMO-YOLO and the first version of the search wrote SuperResConvK1KX and so on, with bit widths that nothing reads.
_OLD_PREFIX = 'SuperResConv'
_REQUIRED = ('in', 'out', 'k')
_POSITIVE = ('in', 'out', 'k', 'kt', 'L', 'btn', 'g')
_KNOWN = {
    'class', 'in', 'out', 'k', 's', 'kt', 'L', 'btn', 'nbitsA', 'nbitsW', 'g', 'p', 'act', 'force_resproj_skip', 'se_ratio', 'inner_class',
}  # fmt: skip


def _holds_blocks(value) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(v, dict) and 'class' in v for v in value)


def _walk(value, name: str | None = None) -> Iterator[tuple[str | None, list[dict]]]:
    """(name, blocks) of every structure inside lists and dicts; what a search calls its best comes before anything else beside it."""
    if _holds_blocks(value):
        yield name, [dict(block) for block in value]
    elif isinstance(value, dict):
        for key in sorted(value, key=lambda key: not str(key).startswith('best')):
            if isinstance(value[key], (dict, list, tuple)):
                yield from _walk(value[key], value.get('name', name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item, name)


def _read(path: Path):
    if not path.is_file():
        raise ConfigError('no such structure file', file=path, field='structure')
    try:
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.json':
            return json.loads(text)
        # Result files that the reference wrote with numpy 2 hold calls instead of plain numbers.
        return ast.literal_eval(re.sub(r'np\.\w+\(([^()]*)\)', r'\1', text).strip())
    except (ValueError, SyntaxError, UnicodeDecodeError, MemoryError, RecursionError) as error:
        raise ConfigError(
            f'neither JSON nor a Python literal: {error}', file=path, field='structure', received=path.suffix
        ) from error


def load_structure(structure: Sequence[dict] | dict | str | Path, name: str | None = None) -> list[dict]:
    """Blocks of a structure given in any form, not checked yet.

    Args:
        structure: a list of blocks; a dict holding lists of blocks at any depth, as search results do; or the path of a JSON file (``.json``)
            or of a Python literal (the reference's ``.txt``) with either. Relative paths start at the working directory.
        name: which structure, where several are held in dicts with a ``name``; None: the first, a search's best one.

    Raises:
        ConfigError: no such file, not readable, no structure in it, or none of that name.
    """
    file = None
    if isinstance(structure, (str, Path)):
        file = Path(structure)
        structure = _read(file)
    found = list(_walk(structure))
    if name is not None:
        names = [found_name for found_name, _ in found]
        if name not in names:
            allowed = [known for known in names if known is not None]
            raise ConfigError(f'must be one of {allowed}', file=file, field='structure_name', received=name)
        return found[names.index(name)][1]
    if found:
        return found[0][1]
    if file is None and isinstance(structure, (list, tuple)):
        return list(structure)  # its own check says what is wrong with it
    raise ConfigError('holds no list of blocks (dicts with a class)', file=file, field='structure', received=structure)


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_bits(block: dict, where: str) -> None:
    family = SUPER_BLOCKS.get(block['class'])
    if 'nbitsA' not in block and 'nbitsW' not in block:
        if 'Quant' in block['class']:
            raise ConfigError('quantised blocks need it: an int or one int a convolution', field=f'{where}.nbitsA')
        return
    for key in ('nbitsA', 'nbitsW'):
        bits = block.get(key)
        convs = 1 if family is None else block['L'] * len(family.searched_kernels)
        values = [bits] * convs if _is_int(bits) else bits
        fits = isinstance(values, (list, tuple)) and len(values) == convs
        if not fits or not all(_is_int(value) and 2 <= value <= 16 for value in values):
            raise ConfigError(
                f'must be an int in 2..16, or a list of {convs} of them (one a convolution)',
                field=f'{where}.{key}',
                received=bits,
            )
        block[key] = values[0] if family is None else list(values)


def _check_block(block, index: int) -> dict:
    where = f'structure[{index}]'
    if not isinstance(block, dict):
        raise ConfigError('must be a dict', field=where, received=block)
    block = dict(block)
    kind = block.get('class')
    if isinstance(kind, str) and kind.startswith(_OLD_PREFIX):
        kind = block['class'] = 'SuperRes' + kind[len(_OLD_PREFIX) :]
        block.pop('nbitsA', None)
        block.pop('nbitsW', None)
    if kind not in _CLASSES:
        raise ConfigError(f'must be one of {sorted(_CLASSES)}', field=f'{where}.class', received=kind)
    if unknown := sorted(set(block) - _KNOWN, key=str):
        raise ConfigError(f'unknown key; allowed: {sorted(_KNOWN)}', field=f'{where}.{unknown[0]}', received=block)
    required = _REQUIRED + (('L', 'btn') if kind in SUPER_BLOCKS else ()) + (('kt',) if _CLASSES[kind] == 3 else ())
    for key in required:
        if key not in block:
            raise ConfigError(f'{kind} needs it; it must be an int > 0', field=f'{where}.{key}', received=block)
    for key in _POSITIVE:
        if key in block and (not _is_int(block[key]) or block[key] < 1):
            raise ConfigError('must be an int > 0', field=f'{where}.{key}', received=block[key])
    for key in ('k', 'kt'):
        if key in block and block[key] % 2 == 0:
            raise ConfigError('must be odd', field=f'{where}.{key}', received=block[key])
    block.setdefault('s', 1)
    if block['s'] not in (1, 2):
        raise ConfigError('must be 1 or 2', field=f'{where}.s', received=block['s'])
    if block.get('act') is not None and block['act'] not in ACTIVATIONS:
        raise ConfigError(f'must be one of {sorted(ACTIVATIONS)}', field=f'{where}.act', received=block['act'])
    if block['in'] % block.get('g', 1) or block['out'] % block.get('g', 1):
        raise ConfigError('must divide in and out', field=f'{where}.g', received=block['g'])
    _check_bits(block, where)
    return block


def check_structure(structure: Sequence[dict], dims: int = 2) -> list[dict]:
    """Blocks with their defaults filled in; what is passed in stays as it is.

    Args:
        structure: the blocks.
        dims: 2: a network for images, 3: for clips.

    Raises:
        ConfigError: unknown class or key, missing or impossible value, or a block whose ``in`` is not the ``out`` of the one before.
    """
    if isinstance(structure, (str, dict)) or not isinstance(structure, Sequence) or len(structure) == 0:
        raise ConfigError('must be a list of at least one block', field='structure', received=structure)
    blocks = [_check_block(block, i) for i, block in enumerate(structure)]
    for i, block in enumerate(blocks):
        if _CLASSES[block['class']] != dims:
            allowed = sorted(name for name, block_dims in _CLASSES.items() if block_dims == dims)
            raise ConfigError(
                f'a {dims}-D network takes {allowed}', field=f'structure[{i}].class', received=block['class']
            )
        if i > 0 and block['in'] != blocks[i - 1]['out']:
            raise ConfigError(
                f'must be {blocks[i - 1]["out"]}, the out of structure[{i - 1}]',
                field=f'structure[{i}].in',
                received=block['in'],
            )
    return blocks


def stage_ends(blocks: list[dict]) -> list[int]:
    """Indices of the blocks that end a stage: those just before a block of stride 2, and the last."""
    before_stride = [i - 1 for i, block in enumerate(blocks) if i > 0 and block['s'] == 2]
    return [*before_stride, len(blocks) - 1]


def stage_index(blocks: list[dict]) -> list[int]:
    """Stage of every block."""
    ends = stage_ends(blocks)
    return [sum(end < i for end in ends) for i in range(len(blocks))]
