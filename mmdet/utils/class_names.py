"""Class names: what a label of one list of names is in another list.

Letters: T trained classes (those of the model), C classes wanted (those of a data set).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError


def class_names(meta: Any) -> tuple[str, ...] | None:
    """The class names in the ``metainfo`` of a data set, or in ``meta`` of a checkpoint of any age; None where there are none.

    >>> class_names(dict(dataset_meta=dict(CLASSES=('car', 'bus')))), class_names(dict(CLASSES=['car'])), class_names({})
    (('car', 'bus'), ('car',), None)
    """
    if not isinstance(meta, Mapping):
        return None
    inner = meta.get('dataset_meta')
    for place in (inner if isinstance(inner, Mapping) else {}, meta):
        for key in ('classes', 'CLASSES'):
            names = place.get(key)
            if isinstance(names, str):
                return (names,)
            if isinstance(names, Sequence | set) and names:
                return tuple(str(name) for name in names)
    return None


def near_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """For each name the known one that differs from it in nothing but case, blanks and punctuation, where there is exactly one.

    >>> near_names(['Car', 'awning tricycle', 'boat'], ['car', 'awning-tricycle'])
    {'Car': 'car', 'awning tricycle': 'awning-tricycle'}
    """
    plain: dict[str, list[str]] = {}
    for name in known:
        plain.setdefault(_plain(name), []).append(name)
    found = {name: plain.get(_plain(name), []) for name in names}
    return {name: others[0] for name, others in found.items() if len(others) == 1 and others[0] != name}


def all_names(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The names of several lists, in order of first appearance."""
    return tuple(dict.fromkeys(name for names in lists for name in names))


def _plain(name: str) -> str:
    return ''.join(letter for letter in name.casefold() if letter.isalnum()) or name


def shown(names: Iterable[str], limit: int = 20) -> str:
    """Names for a message, in quotes, cut after ``limit``."""
    names = list(names)
    text = ', '.join(map(repr, names[:limit]))
    return text if len(names) <= limit else f'{text}, ... ({len(names)} in all)'


@dataclass(frozen=True)
class ClassMap:
    """What the labels of a model are in a data set.

    Attributes:
        trained: T names of the model.
        wanted: C names of the data set.
        labels: T labels of the data set, -1 for classes that it does not have.
        notes: sentences that say what is not equal; none where all names are equal, in the same order.
    """

    trained: tuple[str, ...]
    wanted: tuple[str, ...]
    labels: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether every label stays what it is."""
        return self.labels == tuple(range(len(self.wanted)))


def map_classes(trained: Sequence[str], wanted: Sequence[str], what: str = 'The data set') -> ClassMap:
    """Map the labels of a model to those of a data set by the names of the classes.

    Equal names are one class wherever they stand. Of the others, two that differ in nothing but case, blanks and punctuation are taken for
    one class, which a note says. Where no name of the data set is known and both lists are equally long, labels are taken by their position,
    which a note says too: the classes may have been renamed.

    Args:
        trained: T names.
        wanted: C names.
        what: the data set, for messages.

    Raises:
        ConfigError: no name of the data set is known, and the lists are not equally long.

    >>> map_classes(('car', 'bus', 'van'), ('van', 'car')).labels
    (1, -1, 0)
    """
    trained, wanted = tuple(trained), tuple(wanted)
    if trained == wanted:
        return ClassMap(trained, wanted, tuple(range(len(wanted))))
    label_of = {name: label for label, name in enumerate(wanted)}
    rest = [name for name in trained if name not in label_of]
    near = near_names((name for name in wanted if name not in trained), rest)
    near = {name: other for name, other in near.items() if list(near.values()).count(other) == 1}
    aliases = {other: name for name, other in near.items()}
    labels = tuple(label_of.get(aliases.get(name, name), -1) for name in trained)
    both = f'{what} has the classes {shown(wanted)}, the model was trained on {shown(trained)}'
    if max(labels, default=-1) < 0:
        if len(trained) != len(wanted):
            message = f'{both}: no name is the same, and the numbers of classes differ. Set metainfo=dict(classes=(...)) of the data set'
            raise ConfigError(message, field='metainfo.classes')
        return ClassMap(
            trained,
            wanted,
            tuple(range(len(wanted))),
            (f'{both}: no name is the same, so labels are taken by position',),
        )
    missing = [name for name, label in zip(trained, labels) if label < 0]
    unknown = [name for label, name in enumerate(wanted) if label not in labels]
    order = [label for label in labels if label >= 0]
    notes = [f'{both}: labels are mapped by name'] if order != sorted(order) or missing or unknown else []
    if near:
        pairs = ', '.join(f'{name!r} for {other!r}' for name, other in near.items())
        notes.append(
            f'{what}: class names that differ by case, blanks or punctuation only are taken for one: {pairs}; give both the same spelling'
        )
    if missing:
        notes.append(
            f'{what} lacks {len(missing)} of the {len(trained)} classes of the model; their detections are left out: {shown(missing)}'
        )
    if unknown:
        notes.append(
            f'{what} has {len(unknown)} classes that the model does not know, whose objects are all missed: {shown(unknown)}'
        )
    return ClassMap(trained, wanted, labels, tuple(notes))
