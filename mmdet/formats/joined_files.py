"""Several annotation files read as one: ids that no two images share, categories by name.

Data sets and metrics join by these functions, so that the ids of a data set and those of its metric agree.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

_INT64 = 2**63


def distinct_ids(groups: Sequence[Sequence]) -> list[list]:
    """The image ids of several files, changed only where an id occurs in two of them.

    Then the ids of every file but the first are: whole numbers plus the file's number (from 1) times a power of ten above all ids; where an
    id is a text, negative or too large for that, ``'<number>/<id>'``, with as many slashes as make the ids differ.

    >>> distinct_ids([[1, 2], [3]]), distinct_ids([[1, 12], [1, 5]]), distinct_ids([['a'], ['a', 'b']])
    ([[1, 2], [3]], [[1, 12], [101, 105]], [['a'], ['1/a', '1/b']])
    """
    sets = [set(group) for group in groups]  # a file's own images may be listed twice
    every = set().union(*sets)
    if sum(map(len, sets)) == len(every):
        return [list(group) for group in groups]
    if all(type(each) is int and each >= 0 for each in every):
        step = 10 ** len(str(max(every)))
        if step * len(groups) < _INT64:
            return [[number * step + each for each in group] for number, group in enumerate(groups)]
    slash = '/'
    while True:
        new = [
            _named(own, f'{number}{slash}') if number else {each: each for each in own}
            for number, own in enumerate(sets)
        ]
        if len(set().union(*(own.values() for own in new))) == sum(map(len, sets)):
            return [[own[each] for each in group] for own, group in zip(new, groups)]
        slash += '/'  # an id of the first file looks like a new one


def _named(ids: set, prefix: str) -> dict:
    """Each id -> a text of its own: 1 and '1' of one file stay different."""
    plain = len(set(map(str, ids))) == len(ids)
    return {each: f'{prefix}{each if plain else repr(each)}' for each in ids}


def join_categories(groups: Sequence[Sequence[dict]]) -> tuple[list[dict], list[np.ndarray]]:
    """The categories of several files as one list, and the position in it of each category of each file.

    Categories of one name are one; it has the id of the first file that names it, or a new one where another name has that id.

    >>> join_categories([[dict(id=1, name='car')], [dict(id=1, name='bus'), dict(id=2, name='car')]])
    ([{'id': 1, 'name': 'car'}, {'id': 2, 'name': 'bus'}], [array([0]), array([1, 0])])
    """
    joined: list[dict] = []
    position_of: dict[tuple[str, int], int] = {}
    positions: list[np.ndarray] = []
    taken: set = set()
    for group in groups:
        seen: dict[str, int] = {}
        own = []
        for category in group:
            name = category['name']
            key = name, seen.get(name, 0)  # a file may hold two categories of one name that no class uses
            seen[name] = key[1] + 1
            if key not in position_of:
                position_of[key] = len(joined)
                category_id = category['id']
                if category_id in taken:
                    category_id = max((each for each in taken if type(each) is int), default=0) + 1
                taken.add(category_id)
                joined.append({**category, 'id': category_id})
            own.append(position_of[key])
        positions.append(np.array(own, dtype=np.int64))
    return joined, positions


def join_tables(tables: Sequence[Any]) -> Any:
    """Several :class:`~mmdet.formats.coco.CocoFile` as one, in the order given: image ids by :func:`distinct_ids`, categories by name."""
    first = tables[0]
    image_ids = distinct_ids([table.image_ids for table in tables])
    categories, category_of = join_categories([table.categories for table in tables])
    offsets = np.cumsum([0, *(len(table.image_ids) for table in tables)])

    def rectangles(name: str) -> Any:
        parts = [getattr(table, name) for table in tables]
        image = np.concatenate([part.image + offset for part, offset in zip(parts, offsets)])
        return type(parts[0])(image, np.concatenate([part.bbox for part in parts]))

    notes: dict[str, int] = {}
    for table in tables:
        for reason, count in table.notes.items():
            notes[reason] = notes.get(reason, 0) + count
    changed: dict[str, Any] = dict(
        source=', '.join(table.source for table in tables),
        image_ids=[each for group in image_ids for each in group],
        file_names=[name for table in tables for name in table.file_names],
        categories=categories,
        category_ids=[category['id'] for category in categories],
        category_names=[category['name'] for category in categories],
        annotated=all(table.annotated for table in tables),
        image=np.concatenate([table.image + offset for table, offset in zip(tables, offsets)]),
        category=np.concatenate([own[table.category] for table, own in zip(tables, category_of)]),
        ignored_regions=rectangles('ignored_regions'),
        others=rectangles('others'),
        images_of_files=tuple(len(table.image_ids) for table in tables),
        notes=notes,
    )
    for column in dataclasses.fields(first):  # the other columns of images and boxes
        if column.name not in changed and isinstance(getattr(first, column.name), np.ndarray):
            changed[column.name] = np.concatenate([getattr(table, column.name) for table in tables])
    return dataclasses.replace(first, **changed)
