"""Models that have a name: those of the model index, and every config of the package by its file name."""

import functools
from pathlib import Path
from typing import NamedTuple

from mmengine.infer.infer import BaseInferencer

from mmdet.utils.shipped import shipped_files


class KnownModel(NamedTuple):
    """A model that has a name; ``weights`` is the address of its published checkpoint, or None."""

    name: str
    config: Path
    weights: str | None = None


def config_by_name(name: str) -> str:
    """Path of the config with a bare name like ``gfl_r50_fpn_1x_coco``, or an alias; anything else comes back as it is."""
    if Path(name).suffix in ('.py', '.json', '.yml', '.yaml') or Path(name).exists():
        return name
    known = known_models().get(name.lower())
    return name if known is None else str(known.config)


@functools.cache
def known_models() -> dict[str, KnownModel]:
    """The models of the package by lower-case name: those of the model index, with their aliases, and every config by its file name."""
    root = shipped_files()
    found = {}
    for model in BaseInferencer._get_models_from_metafile(str(root)):
        aliases = model.get('Alias') or []
        for name in [model['Name'], *([aliases] if isinstance(aliases, str) else aliases)]:
            found[name.lower()] = KnownModel(name, (root / model['Config']).resolve(), model.get('Weights'))
    for path in sorted((root / 'configs').resolve().rglob('*.py')):
        if '_base_' not in path.parts:
            found.setdefault(path.stem.lower(), KnownModel(path.stem, path))
    return found
