"""Models that have a name: those of the model index, and every config of the package by its file name."""

import difflib
import functools
from pathlib import Path
from typing import NamedTuple

from mmengine.infer.infer import BaseInferencer

from mmdet.utils.shipped import shipped_files

from ..errors import ConfigError

_CONFIGS = ('.py', '.json', '.yml', '.yaml')


class KnownModel(NamedTuple):
    """A model that has a name, with what the model index says of it; None: nothing.

    Attributes:
        weights: address of the published checkpoint.
        box_ap: AP of the boxes, in percent, as its authors published it.
        parameters: millions of them.
        license: of the published checkpoint.
    """

    name: str
    config: Path
    weights: str | None = None
    box_ap: float | None = None
    parameters: float | None = None
    license: str | None = None


def config_by_name(name: str) -> str:
    """Path of the config with a bare name like ``gfl_r50_fpn_1x_coco``, or an alias; anything else comes back as it is."""
    if Path(name).suffix in _CONFIGS or Path(name).exists():
        return name
    known = known_models().get(name.lower())
    return name if known is None else str(known.config)


def named_config(name: str) -> str:
    """As :func:`config_by_name`; ConfigError, with the near names, for what is no file and no name."""
    path = config_by_name(name)
    if path == name and Path(name).suffix not in _CONFIGS and not Path(name).exists():
        raise ConfigError(f'no config file, and no name of a model{near_names(name)}', field='CONFIG', received=name)
    return path


def near_names(name: str) -> str:
    """The end of an error's message about an unknown name; empty where no name is near."""
    near = difflib.get_close_matches(name.lower(), known_models(), n=3)
    return f'; near names: {", ".join(near)}' if near else ''


@functools.cache
def known_models() -> dict[str, KnownModel]:
    """The models of the package by lower-case name: those of the model index, with their aliases, and every config by its file name."""
    root = shipped_files()
    found = {}
    for model in BaseInferencer._get_models_from_metafile(str(root)):
        aliases = model.get('Alias') or []
        facts = model.get('Metadata') or {}
        results = [result['Metrics'] for result in model.get('Results') or []]
        known = KnownModel(
            model['Name'], (root / model['Config']).resolve(), model.get('Weights'), box_ap=next((float(metrics['box AP']) for metrics in results), None),
            parameters=facts.get('Parameters'), license=facts.get('License'),
        )  # fmt: skip
        for name in [model['Name'], *([aliases] if isinstance(aliases, str) else aliases)]:
            found[name.lower()] = known
    for path in sorted((root / 'configs').resolve().rglob('*.py')):
        if '_base_' not in path.parts:
            found.setdefault(path.stem.lower(), KnownModel(path.stem, path))
    return found
