"""Files of structures: our JSON, the fact sheet's layout, and the reference's text files of both versions.

Whatever the file, the layout is found by what is in it, never by its name. Text files hold one Python literal and are read with
``ast.literal_eval``; nothing is ever evaluated.
"""

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, DataError
from ..utils.files import write_text
from .blocks import families, family_of
from .parsing import parse_structure, structure_to_dicts
from .structure import Block, Structure
from .zennas import is_zen_block, parse_zen_structure

FORMAT = 'mmdet-structures'
# Lists of structures inside a dict: ours, the reference's best_structure.txt, its nas_cache, and what begins the fact sheet's keys.
_LIST_KEYS = ('structures', 'best_structures', 'popu_structure_list')
# One structure inside a dict with other facts: ours, the reference's nas_info.txt (v2, v1) and its configs.
_BLOCK_KEYS = ('blocks', 'structure', 'structure_info', 'best_structure', 'plainnet_struct')
# numpy >= 2 writes its scalars as np.float64(1.5) into the reference's nas_info and nas_cache files, which is no literal.
_NUMPY_SCALAR = re.compile(r'\bnp\.(?:float|int|uint)\d+\(([-+.\w]*)\)')
DAMO_YOLO_IMAGE_SIZE = 320
DAMO_YOLO_STEM_CHANNELS = 12


@dataclass
class StructureEntry:
    """A structure with what its file says about it.

    Attributes:
        name: from the file, or the file's stem.
        blocks: the structure.
        image_size: side of the square input it was searched for, in pixels; None where the file is silent.
        frames: frames of a video network's input; None where the file is silent, and for images.
        task: as 'detection'; None where the file is silent.
        info: anything else to keep with it (published figures, score, budgets); plain JSON values.
    """

    name: str
    blocks: Structure
    image_size: int | None = None
    frames: int | None = None
    task: str | None = None
    info: dict = field(default_factory=dict)


def load_structures(path: str | os.PathLike) -> list[StructureEntry]:
    """Every structure of a file.

    Accepted are our JSON (:func:`save_structures`), a JSON or a Python literal of: a list of block dicts; a list of such lists; a dict with
    ``structures``, ``best_structures`` or keys ending in ``_structures``; a dict, or a list of dicts, with ``blocks`` or ``structure`` (a
    ``nas_info.txt``), block lists within given as lists or as their text. DAMO-YOLO's entries of the fact sheet (``wrapper`` TinyNAS_*) have a stem
    written for RGB; they are read as they were searched, with the 12 channels of Focus and at 320 pixels.

    Raises:
        DataError: naming file, structure, block index and key, what is allowed and what was received.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding='utf-8')
    except OSError as error:
        raise DataError(f'cannot be read: {error.strerror}', file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f'is not UTF-8 text: {error.reason} at byte {error.start}', file=path) from error
    try:
        found = list(_find(_parse_text(text, path), path))
    except RecursionError as error:
        raise DataError('is nested too deeply', file=path) from error
    if not found:
        raise DataError('holds no structure', file=path)
    entries = []
    for index, (raw, facts) in enumerate(found):
        name = facts.get('name') or (path.stem if len(found) == 1 else f'{path.stem}[{index}]')
        entries.append(_entry(raw, facts, str(name), f'structure {index} ({name})', path))
    return entries


def load_structure(path: str | os.PathLike, name: str | None = None) -> Structure:
    """The first structure of a file, or the one called ``name``.

    Raises:
        DataError: as :func:`load_structures`, or there is no such name.
    """
    entries = load_structures(path)
    if name is None:
        return entries[0].blocks
    for entry in entries:
        if entry.name == name:
            return entry.blocks
    raise DataError(
        f'no structure of that name; there are {[entry.name for entry in entries]}', file=path, received=name
    )


def save_structures(path: str | os.PathLike, entries: Sequence[StructureEntry]) -> None:
    """Write entries as our JSON, one block a line, whole or not at all."""
    lines = [f'{{"format": "{FORMAT}", "structures": [']
    for index, entry in enumerate(entries):
        facts = dict(name=entry.name, task=entry.task, image_size=entry.image_size, frames=entry.frames, **entry.info)
        head = json.dumps({key: value for key, value in facts.items() if value is not None}, ensure_ascii=False)
        blocks = ',\n'.join(f'    {json.dumps(block)}' for block in structure_to_dicts(entry.blocks))
        lines.append(f'  {head[:-1]}, "blocks": [\n{blocks}\n  ]}}' + (',' if index + 1 < len(entries) else ''))
    lines.append(']}')
    write_text(path, '\n'.join(lines) + '\n')


def build_structure(structure: str | os.PathLike | Sequence) -> Structure:
    """A structure from whatever a config may hold: a file's path, block dicts, or blocks.

    Raises:
        DataError: as :func:`load_structures`.
    """
    if isinstance(structure, str | os.PathLike):
        return load_structure(structure)
    if structure and all(isinstance(block, Block) for block in structure):
        return tuple(structure)
    return parse_structure(structure)


def _parse_text(text: str, path: Path):
    """JSON, or else a Python literal."""
    try:
        return json.loads(text)
    except ValueError as error:
        as_json = f'line {error.lineno}: {error.msg}' if isinstance(error, json.JSONDecodeError) else str(error)
    try:
        return ast.literal_eval(_NUMPY_SCALAR.sub(r'\1', text).strip())
    except (SyntaxError, ValueError, TypeError, MemoryError) as error:
        line = f'line {error.lineno}: ' if isinstance(error, SyntaxError) else ''
        message = f'is neither JSON ({as_json}) nor a Python literal ({line}{error.args[0] if error.args else error})'
        raise DataError(message, file=path) from error


def _find(node, path: Path, facts: Mapping | None = None) -> Iterator[tuple[Sequence, Mapping]]:
    """Pairs (block dicts, the dict they were found in) in order of appearance."""
    facts = facts or {}
    if isinstance(node, str):
        yield from _find(_parse_text(node, path), path, facts)
    elif isinstance(node, Mapping):
        blocks = [key for key in _BLOCK_KEYS if key in node]
        lists = [key for key in node if key in _LIST_KEYS or key.endswith('_structures')]
        if blocks:
            yield from _find(node[blocks[0]], path, node)
        elif lists:
            for key in lists:
                yield from _find(node[key], path, {**node, **facts} if 'space_arch' in node else facts)
        else:
            wanted = f'one of {list(_BLOCK_KEYS + _LIST_KEYS)}'
            raise DataError(f'a dict must have {wanted}', file=path, received=sorted(map(str, node))[:20])
    elif isinstance(node, Sequence):
        if not node or any(isinstance(item, Mapping) and ('class' in item or 'cls' in item) for item in node):
            yield node, facts
        else:
            for item in node:
                yield from _find(item, path, facts)
    else:
        raise DataError('must be a list of blocks, a list of those, or a dict with them', file=path, received=node)


def _entry(raw: Sequence, facts: Mapping, name: str, record: str, path: Path) -> StructureEntry:
    """One found structure with its facts."""
    image_size = _positive(facts, 'image_size', path, record)
    if str(facts.get('wrapper', '')).startswith('TinyNAS_') and raw and isinstance(raw[0], Mapping):
        raw = [{**raw[0], 'in': DAMO_YOLO_STEM_CHANNELS}, *raw[1:]]
        image_size = image_size or DAMO_YOLO_IMAGE_SIZE
    if any(map(is_zen_block, raw)):
        blocks = parse_zen_structure(raw, file=path, record=record)
    else:
        blocks = parse_structure(raw, file=path, record=record)
    task = facts.get('task')
    info = {key: facts[key] for key in ('published', 'score', 'budgets', 'note') if key in facts}
    return StructureEntry(
        name,
        blocks,
        image_size,
        _positive(facts, 'frames', path, record),
        task if isinstance(task, str) else None,
        info,
    )


def _positive(facts: Mapping, key: str, path: Path, record: str) -> int | None:
    """A positive integer or None."""
    value = facts.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise DataError('must be an integer >= 1', file=path, record=record, field=key, received=value)
    return value


def _walk(value, name: str | None = None) -> Iterator[tuple[str | None, Sequence]]:
    """(name, blocks) of every structure inside lists and dicts; what a search calls its best comes before anything else beside it."""
    if isinstance(value, Mapping):
        for key in sorted(value, key=lambda key: not str(key).startswith('best')):
            yield from _walk(value[key], value.get('name', name))
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, Mapping) and ('class' in item or 'cls' in item) for item in value):
            yield name, value
        else:
            for item in value:
                yield from _walk(item, name)


def _parse(structure, name: str | None) -> Structure:
    if isinstance(structure, (str, os.PathLike)):
        return load_structure(structure, name)
    if isinstance(structure, (list, tuple)) and structure and all(isinstance(block, Block) for block in structure):
        return tuple(structure)
    found = list(_walk(structure))
    names = [found_name for found_name, _ in found]
    if name is not None and name not in names:
        raise ConfigError(f'must be one of {names}', field='structure_name', received=name)
    if found:
        structure = found[0 if name is None else names.index(name)][1]
    parse = parse_zen_structure if found and any(map(is_zen_block, structure)) else parse_structure
    return parse(structure, record='structure')


def read_network(
    structure: Sequence | Mapping | str | os.PathLike, name: str | None = None, dims: int | None = None
) -> Structure:
    """Checked blocks of a network.

    Args:
        structure: a list of block dicts (or of parsed blocks); a dict or list that holds such lists; or the path of a file with either, JSON or
            the reference's text. Relative paths start at the working directory.
        name: which structure, where several are held in dicts with a ``name``; None: the first, a search's best one.
        dims: 2: a network for images, 3: for clips, None: either.

    Raises:
        ConfigError: no such file or name, unknown class or key, missing or impossible value, a block whose ``in`` is not the ``out`` of the one
            before, or a network of other dimensions; the text names the block's index, the key, what is allowed and what was received.
    """
    try:
        blocks = _parse(structure, name)
    except DataError as error:
        raise ConfigError(str(error)) from error
    for i, block in enumerate(blocks):
        if dims is not None and family_of(block.type).dims != dims:
            allowed = sorted(name for name, family in families().items() if family.dims == dims)
            raise ConfigError(
                f'a {dims}-D network takes {allowed}',
                record=f'structure, block {i}',
                field='class',
                received=block.type,
            )
    return blocks
