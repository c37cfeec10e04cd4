"""Models that have a name: those of the model index, and every config of the package by its file name."""

import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import mmengine

from mmdet.utils.shipped import shipped_files

from ..errors import ConfigError

_CONFIGS = ('.py', '.json', '.yml', '.yaml')


class KnownModel(NamedTuple):
    """A model that has a name, with what the model index says of it; None: nothing.

    Attributes:
        weights: address of the published checkpoint; ``#sha256=...`` behind it is the hash that the index states.
        box_ap: AP of the boxes, in percent, as its authors published it: on the validation set of COCO 2017.
        parameters: millions of them.
        license: of the published checkpoint: that of the repository that publishes it.
        family: name of its collection in the index, such as ``RetinaNet``.
        aliases: other names of it.
        macs: 10^9 multiply-adds of one image.
        page: address of a page from which people can fetch the checkpoint, and programs cannot.
        test_dev_ap: AP on test-dev of COCO, likewise.
        hub: id of the model of the Hugging Face hub that has the weights, in the layout of the library transformers.
    """

    name: str
    config: Path
    weights: str | None = None
    box_ap: float | None = None
    parameters: float | None = None
    license: str | None = None
    family: str | None = None
    aliases: tuple[str, ...] = ()
    macs: float | None = None
    page: str | None = None
    test_dev_ap: float | None = None
    hub: str | None = None

    @property
    def file(self) -> str | None:
        """Name of the checkpoint in the folder of downloaded ones: that of the address, and ``NAME.pth`` for what is fetched by hand."""
        if self.weights:
            return re.split('[?#]', self.weights)[0].rpartition('/')[2]
        return f'{self.name}.pth' if self.page else None


def config_by_name(name: str) -> str:
    """Path of the config with a bare name like ``gfl_r50_fpn_1x_coco``, or an alias; anything else comes back as it is."""
    if (
        Path(name).suffix in _CONFIGS or Path(name).is_file()
    ):  # a folder, such as one of outputs, may be called like the model
        return name
    known = known_models().get(name.lower())
    return name if known is None else str(known.config)


def named_config(name: str, field: str = 'CONFIG') -> str:
    """As :func:`config_by_name`, for the argument ``field``; ConfigError, with the near names, for what is no config file and no name.

    A config file that is not there is left to the reader of configs, which says so.
    """
    path = config_by_name(name)
    if Path(path).suffix in _CONFIGS:
        return path
    if Path(path).exists():
        raise ConfigError(
            f'must be a config file ({", ".join(_CONFIGS)}) or the name of a model; it is the first argument',
            field=field,
            received=name,
        )
    raise ConfigError(f'no config file, and no name of a model{near_names(name)}', field=field, received=name)


def near_names(name: str) -> str:
    """The end of an error's message about an unknown name; empty where no name is near."""
    near = difflib.get_close_matches(name.lower(), known_models(), n=3)
    return f'; near names: {", ".join(near)}' if near else ''


@functools.cache
def known_models() -> dict[str, KnownModel]:
    """The models of the package by lower-case name: those of the model index, with their aliases, and every config by its file name."""
    found = {}
    for known in indexed_models():
        for name in (known.name, *known.aliases):
            found[name.lower()] = known
    for path in sorted((shipped_files() / 'configs').resolve().rglob('*.py')):
        if '_base_' not in path.parts:
            found.setdefault(path.stem.lower(), KnownModel(path.stem, path))
    return found


def indexed_models() -> Iterator[KnownModel]:
    """The models of the files that ``model-index.yml`` names, in their order.

    A file is laid out as those of mmdetection: ``Models``, and ``Collections`` with what all models of a family share. ``Metadata`` is that of the
    collection and then of the model. ``SHA256``, ``Page`` (where ``Weights`` would be no address of a file) and ``Hub`` are additions.
    """
    root = shipped_files()
    files = [mmengine.load(root / name) for name in mmengine.load(root / 'model-index.yml')['Import']]
    collections = {each['Name']: each for file in files for each in file.get('Collections') or []}
    for file in files:
        for model in file['Models']:
            family = model.get('In Collection')
            facts = {**(collections.get(family, {}).get('Metadata') or {}), **(model.get('Metadata') or {})}
            yield _known(model, family, facts, root)


def _known(model: Mapping[str, Any], family: str | None, facts: Mapping[str, Any], root: Path) -> KnownModel:
    published = {
        each['Dataset']: float(each['Metrics']['box AP'])
        for each in model.get('Results') or []
        if 'box AP' in each['Metrics']
    }
    aliases, weights, hash_ = model.get('Alias') or [], model.get('Weights'), model.get('SHA256')
    parameters, macs = facts.get('Parameters'), facts.get('FLOPs')
    return KnownModel(
        name=model['Name'], config=(root / model['Config']).resolve(), weights=f'{weights}#sha256={hash_}' if weights and hash_ else weights,
        box_ap=published.get('COCO'), test_dev_ap=published.get('COCO test-dev'), family=family,
        parameters=parameters and round(parameters / 1e6, 2), macs=macs and round(macs / 1e9, 2), page=model.get('Page'),
        hub=model.get('Hub'), license=facts.get('License') if weights or model.get('Page') or model.get('Hub') else None,
        aliases=(aliases,) if isinstance(aliases, str) else tuple(aliases),
    )  # fmt: skip
