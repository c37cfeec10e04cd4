"""Fine-tuning on other classes: the rows of the classes that a checkpoint and the training set share are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ...errors import ConfigError
from ...formats.class_names import COCO_CLASSES, VOC_CLASSES
from ...utils.class_names import near_names, shown

_KEYS = ('rename', 'trained')
_KNOWN_NAMES = {'coco': COCO_CLASSES, 'voc': VOC_CLASSES}


class ClassRows:
    """What ``map_classes`` of a config asks for: which class of a checkpoint each class of the training set continues.

    Equal names are one class; so are names that differ in nothing but case, blanks and punctuation, and those of ``rename``.

    Args:
        option: True, or a dict with ``rename`` (name of the training set -> name in the checkpoint) and ``trained`` (the names of a
            checkpoint that does not know its own: a list, or ``'coco'`` or ``'voc'``).
        trained: names in the checkpoint, or None.
        wanted: names of the training set, or None.
        file: the checkpoint, for messages.

    Raises:
        ConfigError: another kind of option, names that nobody has, or no names at all.
    """

    def __init__(self, option: Any, trained: Sequence[str] | None, wanted: Sequence[str] | None, file: object):
        options = {} if option is True else option
        if not isinstance(options, Mapping) or set(options) - set(_KEYS):
            message = "must be True, or a dict of rename=dict(new='old') and trained=(names of the checkpoint)"
            raise ConfigError(message, field='map_classes', received=option)
        if isinstance(options.get('trained'), str):
            known = _KNOWN_NAMES.get(options['trained'])
            if known is None:
                message = f'must be a list of names, or one of {", ".join(_KNOWN_NAMES)}'
                raise ConfigError(message, field='map_classes.trained', received=options['trained'])
            options = dict(options, trained=known)
        for key, kind, what in (('rename', Mapping, "a dict, new='old'"), ('trained', list | tuple, 'a list of names')):
            if options.get(key) is not None and not isinstance(options[key], kind):
                raise ConfigError(f'must be {what}', field=f'map_classes.{key}', received=options[key])
        trained = trained or options.get('trained')
        if not trained:
            message = 'the checkpoint does not name its classes; give their names in the order of its labels: map_classes=dict(trained=(...))'
            raise ConfigError(message, file=file, field='map_classes')
        if not wanted:
            message = 'the training set has no class names'
            raise ConfigError(message, field='train_dataloader.dataset.metainfo.classes', received=wanted)
        self.trained, self.wanted, self.file = tuple(trained), tuple(wanted), file
        rename = dict(options.get('rename') or {})
        for names, known, where in (
            (rename, self.wanted, 'the training set'),
            (rename.values(), self.trained, 'the checkpoint'),
        ):
            for name in names:
                if name not in known:
                    message = f'{where} has no class of this name; it has {shown(known)}'
                    raise ConfigError(message, field='map_classes.rename', received=name)
        taken = [*rename.values(), *(name for name in self.wanted if name in self.trained and name not in rename)]
        rest = [name for name in self.wanted if name not in rename and name not in self.trained]
        self.near = near_names(rest, [name for name in self.trained if name not in taken])
        self.old_names = [rename.get(name) or self.near.get(name, name) for name in self.wanted]
        self.sources = [self.trained.index(name) if name in self.trained else -1 for name in self.old_names]
        self.changed: list[str] = []
        self.left: list[str] = []

    def apply(self, model: nn.Module, state_dict: dict) -> None:
        """Give the class rows of a state dict the classes of the model, in place."""
        for name, module in model.named_modules():
            take = getattr(module, 'take_class_rows', None)
            if callable(take):
                changed, left = take(state_dict, f'{name}.' if name else '', self.sources, len(self.trained))
                self.changed += changed
                self.left += left

    def lines(self) -> list[str]:
        """What was done, a line for each class of the training set."""
        if not self.changed:
            return [f'map_classes: no tensor of {self.file} has rows of classes that fit the model']
        kept = sum(source >= 0 for source in self.sources)
        lines = [
            f'map_classes: {kept} of {len(self.wanted)} classes continue one of the {len(self.trained)} classes of {self.file}, '
            f'in {len(self.changed)} tensors: {", ".join(self.changed)}'
        ]
        for name, old, source in zip(self.wanted, self.old_names, self.sources):
            lines.append(
                f'  {name}: new, initial weights'
                if source < 0
                else f'  {name}: from {old}, class {source} of the checkpoint'
            )
        unused = [name for name in self.trained if name not in self.old_names]
        if unused:
            lines.append(f'  not in the training set: {shown(unused)}')
        if self.left:
            lines.append(f'  of another kind of head, left out: {", ".join(self.left)}')
        return lines


def class_changes(trained: Sequence[str] | None, wanted: Sequence[str] | None) -> str | None:
    """A sentence for the log if a training starts from the weights of other classes without ``map_classes``; None if it does not."""
    if trained is None or wanted is None or tuple(trained) == tuple(wanted):
        return None
    shared = [name for name in wanted if name in trained]
    how = (
        'the rows of the class layers are taken by position'
        if len(trained) == len(wanted)
        else 'the class layers start anew'
    )
    hint = f'; map_classes=True keeps those of the {len(shared)} classes of equal names' if shared else ''
    return (
        f'The checkpoint was trained on the classes {shown(trained)}, the training set has {shown(wanted)}: {how}{hint}'
    )
