"""Reading and writing structures: our JSON, LightNAS's text files of both versions, DAMO-YOLO's and ZenNAS's lists, and values of a config.

One reader serves them all. It finds the layout from the content, never from a file's name. Text files hold one Python literal and are parsed by
``ast.literal_eval``, which runs no code.
"""

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet.utils.checks import is_int

from ..errors import ConfigError, DataError
from ..utils.files import write_text
from ..utils.reading import read_file
from .blocks import families, family_of
from .parsing import parse_structure, structure_to_dicts
from .structure import Block, Structure
from .zennas import is_zen_block, parse_zen_structure

FORMAT = 'mmdet-structures'
# Lists of structures inside a dict: ours, the reference's best_structure.txt and its nas_cache; any other key that ends in _structures counts too.
_LIST_KEYS = ('structures', 'best_structures', 'popu_structure_list')
# One structure inside a dict with other facts: ours, the reference's nas_info.txt (v2, v1) and its configs.
_BLOCK_KEYS = ('blocks', 'structure', 'structure_info', 'best_structure', 'plainnet_struct')
# numpy >= 2 writes its scalars as np.float64(1.5) into the reference's nas_info and nas_cache files, which is no literal.
_NUMPY_SCALAR = re.compile(r'\bnp\.(?:float|int|uint)\d+\(([-+.\w]*)\)')
_INT64 = 2**63
DAMO_YOLO_IMAGE_SIZE = 320
DAMO_YOLO_STEM_CHANNELS = 12


@dataclass
class StructureEntry:
    """A structure with what its file says about it.

    Attributes:
        name: from the file, or the file's stem.
        blocks: the structure.
        image_size: side of the square input that it was searched for, in pixels; None where the file does not say.
        frames: frames of a video network's input; None where the file does not say, and for image networks.
        task: for example 'detection'; None where the file does not say.
        info: other facts kept with it (published figures, score, budgets, note); plain JSON values.
    """

    name: str
    blocks: Structure
    image_size: int | None = None
    frames: int | None = None
    task: str | None = None
    info: dict = field(default_factory=dict)


def load_structures(path: str | os.PathLike) -> list[StructureEntry]:
    """Read every structure of a file.

    The content, JSON or a Python literal, may be

    - a list of block dicts (of LightNAS or of ZenNAS), or a list of such lists;
    - a dict with ``blocks``, ``structure``, ``structure_info``, ``best_structure`` or ``plainnet_struct``, as a ``nas_info.txt`` has;
    - a dict with lists of such values under ``structures``, ``best_structures``, ``popu_structure_list`` or another key that ends in ``_structures``;
      keys that begin with ``best`` are read first. In a dict with none of these keys, all lists and dicts are searched.

    Block lists may also be given as their text. DAMO-YOLO's entries (``wrapper`` TinyNAS_*) name an RGB stem; they are read as they were
    searched, with the 12 channels of the Focus layer and at 320 pixels.

    Raises:
        DataError: naming file, structure, block index and key, what is allowed and what was received.
    """
    path = Path(path)
    try:
        return _entries(_parse_text(read_file(path).decode('utf-8'), path), path.stem, path)
    except UnicodeDecodeError as error:
        raise DataError(f'is not UTF-8 text: {error.reason} at byte {error.start}', file=path) from error
    except RecursionError as error:
        raise DataError('is nested too deeply', file=path) from error


def load_structure(path: str | os.PathLike, name: str | None = None) -> Structure:
    """Read the first structure of a file, or the one called ``name``.

    Raises:
        DataError: as :func:`load_structures`, or there is no such name.
    """
    return _named(load_structures(path), name, path)


def save_structures(path: str | os.PathLike, entries: Sequence[StructureEntry]) -> None:
    """Write entries as our JSON, one block a line. The file appears as a whole or not at all."""
    lines = [f'{{"format": "{FORMAT}", "structures": [']
    for index, entry in enumerate(entries):
        facts = dict(name=entry.name, task=entry.task, image_size=entry.image_size, frames=entry.frames, **entry.info)
        head = json.dumps({key: value for key, value in facts.items() if value is not None}, ensure_ascii=False)
        blocks = ',\n'.join(f'    {json.dumps(block)}' for block in structure_to_dicts(entry.blocks))
        lines.append(f'  {head[:-1]}, "blocks": [\n{blocks}\n  ]}}' + (',' if index + 1 < len(entries) else ''))
    lines.append(']}')
    write_text(Path(path), '\n'.join(lines) + '\n')


def build_structure(structure: str | os.PathLike | Sequence | Mapping, name: str | None = None) -> Structure:
    """The structure that a config names: the path of a file, parsed blocks, or any value that such a file may hold.

    Args:
        structure: see above; a relative path starts at the working directory.
        name: which structure, where there are several; None: the first, which in the output of a search is the best.

    Raises:
        DataError: as :func:`load_structures`, or there is no such name.
    """
    if isinstance(structure, str | os.PathLike):
        return load_structure(structure, name)
    if isinstance(structure, Sequence) and structure and all(isinstance(block, Block) for block in structure):
        return tuple(structure)
    return _named(_entries(structure, 'structure'), name)


def read_network(
    structure: str | os.PathLike | Sequence | Mapping, name: str | None = None, dims: int | None = None
) -> Structure:
    """:func:`build_structure` for a model, with every mistake reported as one of the config.

    Args:
        structure, name: as in :func:`build_structure`.
        dims: 2 for a network for images, 3 for clips, None for either.

    Raises:
        ConfigError: no such file or name, unknown class or key, missing or impossible value, a block whose ``in`` is not the ``out`` of the one
            before, or a network of other dimensions; the text names the block's index, the key, what is allowed and what was received.
    """
    try:
        blocks = build_structure(structure, name)
    except DataError as error:
        raise ConfigError(str(error)) from error
    for i, block in enumerate(blocks):
        if dims is not None and family_of(block.type).dims != dims:
            allowed = sorted(name for name, family in families().items() if family.dims == dims)
            where = dict(record=f'structure, block {i}', field='class', received=block.type)
            raise ConfigError(f'a {dims}-D network takes {allowed}', **where)
    return blocks


def _named(entries: Sequence[StructureEntry], name: str | None, file: str | os.PathLike | None = None) -> Structure:
    """The blocks of the first entry, or of the one called ``name``."""
    for entry in entries:
        if name in (None, entry.name):
            return entry.blocks
    names = [entry.name for entry in entries]
    raise DataError(f'must be one of {names}', file=file, field='structure_name', received=name)


def _entries(value: Any, stem: str, file: Path | None = None) -> list[StructureEntry]:
    """Every structure inside a value, at least one; those without a name of their own are called after ``stem``."""
    found = list(_find(value, {}, file))
    if not found:
        wanted = f'a list of blocks, a list of those, or a dict with one of {list(_BLOCK_KEYS + _LIST_KEYS)}'
        received = sorted(map(str, value))[:20] if isinstance(value, Mapping) else type(value).__name__
        raise DataError(f'holds no structure: must be {wanted}', file=file, received=received)
    entries = []
    for index, (raw, facts) in enumerate(found):
        name = facts.get('name') or (stem if len(found) == 1 else f'{stem}[{index}]')
        if not isinstance(name, str):
            raise DataError('must be a text', file=file, record=f'structure {index}', field='name', received=name)
        record = 'structure' if file is None and len(found) == 1 else f'structure {index} ({name})'
        for key in ('image_size', 'frames'):
            if facts.get(key) is not None and not is_int(facts[key], 1):
                message = 'must be an integer >= 1'
                raise DataError(message, file=file, record=record, field=key, received=facts[key])
        image_size, task = facts.get('image_size'), facts.get('task')
        if str(facts.get('wrapper', '')).startswith('TinyNAS_') and raw and isinstance(raw[0], Mapping):
            raw = [{**raw[0], 'in': DAMO_YOLO_STEM_CHANNELS}, *raw[1:]]
            image_size = image_size or DAMO_YOLO_IMAGE_SIZE
        parse = parse_zen_structure if any(map(is_zen_block, raw)) else parse_structure
        blocks = parse(raw, file=file, record=record)
        info = {key: facts[key] for key in ('published', 'score', 'budgets', 'note') if key in facts}
        task = task if isinstance(task, str) else None
        entries.append(StructureEntry(name, blocks, image_size, facts.get('frames'), task, info))
    return entries


def _parse_text(text: str, file: Path | None) -> Any:
    """Content of a text: JSON, or else a Python literal."""
    try:
        return json.loads(text)
    except ValueError as error:
        as_json = f'line {error.lineno}: {error.msg}' if isinstance(error, json.JSONDecodeError) else str(error)
    try:
        tree = ast.parse(_NUMPY_SCALAR.sub(r'\1', text).strip(), mode='eval')
        if any(is_int(getattr(node, 'value', None), _INT64) for node in ast.walk(tree)):
            raise ValueError('a whole number beyond 64 bits')  # as 0xfff..., which Python reads, but may not print
        return ast.literal_eval(tree)
    except (SyntaxError, ValueError, TypeError, MemoryError) as error:
        line = f'line {error.lineno}: ' if isinstance(error, SyntaxError) else ''
        message = f'is neither JSON ({as_json}) nor a Python literal ({line}{error.args[0] if error.args else error})'
        raise DataError(message, file=file) from error


def _find(node: Any, facts: Mapping, file: Path | None) -> Iterator[tuple[Sequence, Mapping]]:
    """Pairs (block dicts, the dict they were found in), those under keys that begin with ``best`` first."""
    if isinstance(node, str):
        yield from _find(_parse_text(node, file), facts, file)
    elif isinstance(node, Mapping):
        blocks = [key for key in _BLOCK_KEYS if key in node]
        lists = [key for key in node if key in _LIST_KEYS or str(key).endswith('_structures')]
        if blocks:
            yield from _find(node[blocks[0]], {'name': facts.get('name'), **node}, file)
        else:
            inner = lists or [key for key, value in node.items() if isinstance(value, Mapping | list | tuple)]
            for key in sorted(inner, key=lambda key: not str(key).startswith('best')):
                yield from _find(node[key], {**facts, **node}, file)
    elif isinstance(node, Sequence):
        if not node or any(isinstance(item, Mapping) and ('class' in item or 'cls' in item) for item in node):
            yield node, facts
        else:
            for item in node:
                yield from _find(item, facts, file)
