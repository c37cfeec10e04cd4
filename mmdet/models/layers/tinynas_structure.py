"""Finding a TinyNAS structure in what a user gives (blocks, a search's result, a file), and checking it as a network."""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdet.utils.errors import ConfigError, DataError

if TYPE_CHECKING:  # the search imports networks
    from mmdet.nas.structure import Structure


def _holds_blocks(value) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(v, dict) and 'class' in v for v in value)
    )


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


def parse_network(structure: Sequence[dict], dims: int | None = None) -> 'Structure':
    """Checked blocks of a network.

    Args:
        structure: block dicts.
        dims: 2: a network for images, 3: for clips, None: either.

    Raises:
        ConfigError: unknown class or key, missing or impossible value, a block whose ``in`` is not the ``out`` of the one before, or a network
            of other dimensions; the text names the block's index, the key, what is allowed and what was received.
    """
    from mmdet.nas.blocks import families, family_of
    from mmdet.nas.structure import parse_structure

    try:
        blocks = parse_structure(structure, record='structure')
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
