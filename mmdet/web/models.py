"""The models that the page offers: each is loaded when it is first used, and the last few stay loaded for all who use the page."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..apis.building import CHECKPOINT_SUFFIXES, build_model, require_weights
from ..apis.known_models import known_models
from ..apis.prediction import config_and_weights
from ..errors import ConfigError
from .looks import Model, is_exported, load_model


class Choice(NamedTuple):
    """A model that can be chosen: its name on the page, what :func:`~mmdet.web.looks.load_model` takes, and whether it was given at the start."""

    name: str
    source: str
    weights: str | None = None
    given: bool = True


class Models:
    """Choices by name, and those that are loaded.

    Args:
        choices: what :func:`choices_of` returned.
        kept: models that stay loaded; the one that was not used for longest makes room for another.
        load: loads a choice.
    """

    def __init__(self, choices: Sequence[Choice], kept: int = 2, load: Callable[[Choice], Model] | None = None):
        self.choices = {choice.name: choice for choice in choices}
        self._kept = kept
        self._load = load or (lambda choice: load_model(choice.source, choice.weights))
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._loaded

    def get(self, name: str) -> Model:
        """The model of a name, loaded if it is not.

        Raises:
            ConfigError: there is no such choice; or what loading a model raises.
        """
        if name not in self.choices:
            raise ConfigError('is none of the models of this page', field='model', received=name)
        with self._lock:
            if name not in self._loaded:
                while (
                    len(self._loaded) >= self._kept
                ):  # before the next is loaded, so that no more are in memory at any time
                    self._loaded.popitem(last=False)
                self._loaded[name] = self._load(self.choices[name])
            self._loaded.move_to_end(name)
            return self._loaded[name]


def choices_of(
    models: Sequence[str],
    weights: Sequence[str] = (),
    *,
    named: bool = True,
    trust_checkpoint: bool = False,
    random_weights: bool = False,
) -> list[Choice]:
    """The choices of the page.

    Args:
        models: names, configs, checkpoints with their config beside them, or exported folders.
        weights: checkpoints of the first of ``models``, in their order.
        named: offer all models with published weights as well.
        trust_checkpoint: the config beside a checkpoint may be a program.
        random_weights: allow configs that are given without weights, and name none.

    Raises:
        ConfigError: a model that does not exist or has no weights, more weights than models, or no model at all.
    """
    if len(weights) > len(models):
        raise ConfigError(
            f'at most one for each of the {len(models)} models', field='--weights', received=list(weights)
        )
    found: dict[str, Choice] = {}
    for source, checkpoint in zip(models, [*weights, *[None] * (len(models) - len(weights))]):
        if not is_exported(source):
            # now, not when somebody uses it
            config, found_weights = config_and_weights(source, checkpoint, trust_checkpoint=trust_checkpoint)
            if found_weights is None and not random_weights:
                require_weights(build_model(config), config)
        elif checkpoint is not None:
            raise ConfigError('an exported folder has its weights in it', field='--weights', received=checkpoint)
        name = base = _name_of(source)
        while name in found:
            name = f'{base} ({len(found) + 1})'
        found[name] = Choice(name, source, checkpoint)
    for model in known_models().values() if named else ():
        if model.weights and not any(choice.source.lower() == model.name.lower() for choice in found.values()):
            found.setdefault(model.name, Choice(model.name, model.name, given=False))
    if not found:
        raise ConfigError(
            'name a model: a config, a checkpoint, an exported folder or one of mmdet models', field='MODEL'
        )
    return list(found.values())


def _name_of(source: str) -> str:
    """What the page calls a model: a folder and file name, without the ending."""
    path = Path(source)
    if path.name == 'manifest.json':
        path = path.parent
    if path.suffix in CHECKPOINT_SUFFIXES and path.parent.name:
        return f'{path.parent.name}/{path.stem}'
    return path.name if path.is_dir() else path.stem
