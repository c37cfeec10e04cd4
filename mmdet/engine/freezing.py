"""Freezing parts of a model: their weights, and the statistics of their batch norms."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..errors import ConfigError

_frozen_kinds: dict[type, type] = {}
# Networks of the library transformers lie below one or two parts of the name model.
_TOP_PART = re.compile(r'(?:model\.)*[^.]+')


class StaysInEval:
    """Mixed into the class of a norm that is frozen: ``train()`` leaves it in evaluation mode, so that its statistics stay."""

    training: bool

    def train(self, mode: bool = True) -> Any:
        """Return the norm as it is."""
        return self


def freeze_norm(norm: nn.Module) -> None:
    """Put a norm into evaluation mode and keep it there, also when ``train()`` of the model is called.

    The class of the object changes, and not its method ``train``, so that copies (averages of the weights) are frozen by themselves.
    """
    kind = type(norm)
    if isinstance(norm, StaysInEval):
        return
    norm.eval()
    if kind not in _frozen_kinds:
        _frozen_kinds[kind] = type(f'Frozen{kind.__name__}', (StaysInEval, kind), {'__module__': __name__})
    norm.__class__ = _frozen_kinds[kind]


def release_norm(norm: nn.Module, training: bool) -> None:
    """Undo :func:`freeze_norm`; ``training`` is the mode of the model."""
    if isinstance(norm, StaysInEval):
        norm.__class__ = next(kind for kind, frozen in _frozen_kinds.items() if frozen is type(norm))
        norm.train(training)


def norms_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and modules of the norms that keep statistics."""
    return [
        (name, part) for name, part in model.named_modules() if isinstance(part, _NormBase) and part.track_running_stats
    ]


def is_inside(name: str, prefix: str) -> bool:
    """Whether a parameter or module lies in the part of a model that a prefix names.

    >>> is_inside('neck.conv.weight', 'neck'), is_inside('neck', 'neck'), is_inside('necklace.weight', 'neck')
    (True, True, False)
    """
    return name == prefix or name.startswith(f'{prefix}.')


def near_parts(key: str, names: Iterable[str]) -> str:
    """A hint for a message: the parts of a model whose names are most like a key that matches none.

    ``names`` are those of the parameters; parts are their beginnings.
    """
    names, parts = list(names), {}
    for name in names:
        words = name.split('.')
        parts.update(dict.fromkeys('.'.join(words[:length]) for length in range(1, len(words) + 1)))
    by_lower = {part.lower(): part for part in parts}
    near = difflib.get_close_matches(key.lower(), by_lower, n=4, cutoff=0.6)
    leaves = {part.rpartition('.')[2].lower(): part.rpartition('.')[2] for part in parts}
    near_words = difflib.get_close_matches(key.lower(), leaves, n=4, cutoff=0.7)
    found = list(dict.fromkeys([by_lower[part] for part in near] + [leaves[word] for word in near_words]))[:5]
    if not found:
        found = list(dict.fromkeys(_TOP_PART.findall(name)[0] for name in names))
        return f'the parts of the model are {", ".join(found)}'
    return f'near names: {", ".join(found)}'


def refuse_frozen_model(model: nn.Module, field: str) -> None:
    """Raise ConfigError if no parameter of a model is left to train."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError('nothing of the model is left to train', field=field)
