"""From what a config says about a structure to checked blocks; files are read by :mod:`mmdet.nas.structure_io`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mmdet.utils.errors import ConfigError, DataError

if TYPE_CHECKING:  # the search imports networks
    from mmdet.nas.structure import Structure


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


def _parse(structure, name: str | None) -> 'Structure':
    from mmdet.nas.structure import Block, parse_structure
    from mmdet.nas.structure_io import load_structure
    from mmdet.nas.zennas import is_zen_block, parse_zen_structure

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
) -> 'Structure':
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
    from mmdet.nas.blocks import families, family_of

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
