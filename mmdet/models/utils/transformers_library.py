"""The library transformers, for the parts that put its models into detectors: its configs, checked, and its weights, read safely.

Nothing here runs code of a model's publisher, reads pickles, or uses the network unless the config says ``load='hub'``. The library is imported inside the
functions: it is optional (the extra ``transformers``), and takes seconds.
"""

import contextlib
import copy
import difflib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmdet.errors import CheckpointError, ConfigError

_OLDEST, _BELOW = (5, 24), (6,)
LOADS = ('local', 'hub')
# Keys that every config of the library takes, although they are no fields of its class.
_COMMON_KEYS = {'model_type', 'num_labels', 'attn_implementation', 'name_or_path', '_name_or_path'}
_WEIGHT_FILES = ('model.safetensors', 'model.safetensors.index.json')


@functools.cache
def library() -> Any:
    """The module ``transformers``.

    Raises:
        ConfigError: it is not installed, or of a version whose losses or names are others.
    """
    try:
        import transformers
    except ImportError as error:
        message = 'is needed for models of its kind: pip install "mmdet-dense[transformers]"'
        raise ConfigError(message, field='transformers', received=str(error)) from error
    version = tuple(int(part) for part in transformers.__version__.split('.')[:2])
    if not _OLDEST <= version < _BELOW:
        # Before 5.24 the main loss of D-FINE and RT-DETR took in the denoising queries (huggingface/transformers #48528).
        message = 'must be of version 5.24 or later, below 6: pip install "mmdet-dense[transformers]"'
        raise ConfigError(message, field='transformers', received=transformers.__version__)
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's warnings and progress bars: what matters of them is said by the callers."""
    logging = library().utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def plain(value: Any) -> Any:
    """A copy of a config's value out of dicts, lists and numbers alone."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else copy.deepcopy(value)


def build_config(model: Mapping[str, Any], field: str = 'model', load: str = 'local') -> Any:
    """The library's config of a dict.

    Args:
        model: ``model_type`` and keys of the library's config of that type; or ``from_pretrained``, a folder or the id of a model of the hub, and keys
            that differ from its ``config.json``. Dicts of parts (``backbone_config``) are merged with those of the file.
        field: name of the dict in messages.
        load: ``'local'`` for folders, and for models of the hub that are in its cache; ``'hub'`` permits the network.

    Raises:
        ConfigError: no such type, key or folder, or a value of another type than the library's.
    """
    if not isinstance(model, Mapping) or ('model_type' in model) == ('from_pretrained' in model):
        raise ConfigError('must be a dict with either model_type or from_pretrained', field=field, received=model)
    given = plain(model)
    source = given.pop('from_pretrained', None)
    base = {} if source is None else pretrained_config(source, load, f'{field}.from_pretrained')
    kind = given.pop('model_type', None) or base.get('model_type')
    _check_keys(given, kind, base, field)
    keys = {name: value for name, value in _merged(base, given).items() if name != 'model_type'}
    if 'num_labels' in given:  # names of other classes would win over their number
        keys = {name: value for name, value in keys.items() if name not in ('id2label', 'label2id')}
    return _construct(_config_class(kind, field), keys, field)


def full_dict(config: Any) -> dict:
    """All keys of a config of the library, for :func:`build_config` of any later version, which then uses no default of its own."""
    found = _known_values(config)
    rebuilt = build_config(found)
    if rebuilt.to_dict() != config.to_dict():
        names = [name for name, value in config.to_dict().items() if rebuilt.to_dict().get(name) != value]
        raise ConfigError(
            f'cannot be written as a dict: {", ".join(names)} would be lost', field='model', received=config.model_type
        )
    return {**found, 'transformers_version': library().__version__}


def _known_values(config: Any) -> dict:
    """The keys of a config that its class knows; what it has computed from them is left out."""
    known, found = _known_keys(type(config)), {}
    for name, value in config.to_dict().items():
        part = getattr(config, name, None)
        if name in known and name not in ('_name_or_path', 'transformers_version'):
            found[name] = _known_values(part) if isinstance(part, library().PreTrainedConfig) else plain(value)
    return found


def _config_class(kind: Any, field: str) -> Any:
    from transformers import CONFIG_MAPPING

    library()
    if kind not in CONFIG_MAPPING:
        near = difflib.get_close_matches(str(kind), list(CONFIG_MAPPING.keys()))
        hint = f'near names: {", ".join(near)}' if near else 'see the list of models of transformers'
        raise ConfigError(f'transformers has no model of this type; {hint}', field=f'{field}.model_type', received=kind)
    return CONFIG_MAPPING[kind]


def _construct(cls: Any, keys: dict, field: str) -> Any:
    try:
        with quiet():
            return cls(**keys)
    except Exception as error:  # the library checks types and architectures by exceptions of several kinds
        message = f'transformers refuses it: {" ".join(str(error).split())}'
        raise ConfigError(message, field=field, received=keys) from error


def _merged(base: Mapping, given: Mapping) -> dict:
    """``given`` over ``base``; dicts in both are merged, unless they are of different types."""
    found = dict(base)
    for key, value in given.items():
        old = base.get(key)
        same = isinstance(value, dict) and isinstance(old, dict)
        same = same and value.get('model_type', old.get('model_type')) == old.get('model_type')
        found[key] = _merged(old, value) if same else value
    return found


def _known_keys(cls: Any) -> set[str]:
    settable = (name for name in dir(cls) if getattr(getattr(cls, name, None), 'fset', None) is not None)
    return {*_COMMON_KEYS, *cls.__dataclass_fields__, *cls.attribute_map, *settable}


def _check_keys(given: Mapping, kind: Any, base: Mapping, field: str) -> None:
    """ConfigError for a key, here or in the config of a part, which the library would keep without using it."""
    cls = _config_class(kind, field)
    parts = cls.sub_configs_defaults
    known = _known_keys(cls)
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=4)
            hint = f'near names: {", ".join(near)}' if near else f'it has {", ".join(sorted(known))}'
            raise ConfigError(f'{cls.__name__} has no key of this name; {hint}', field=field, received=key)
        if key in parts and isinstance(value, Mapping):
            inner = base.get(key) or {}
            part = value.get('model_type') or inner.get('model_type') or parts[key].model_type
            _check_keys(
                {name: item for name, item in value.items() if name != 'model_type'}, part, inner, f'{field}.{key}'
            )


# ------------------------------------------------------------------------------------------------ published weights


def pretrained_config(source: Any, load: str = 'local', field: str = 'from_pretrained') -> dict:
    """What ``config.json`` of a folder, or of a model of the hub, says.

    Raises:
        ConfigError: there is none, or none without the network that ``load`` forbids.
    """
    file = _find_file(source, 'config.json', load, field)
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'cannot be read as JSON ({error})', file=file, field=field) from error
    if not isinstance(found, dict) or 'model_type' not in found:
        raise ConfigError(
            'must be a dict with model_type, as transformers writes it', file=file, received=type(found).__name__
        )
    return found


def _find_file(source: Any, name: str, load: str, field: str) -> Path:
    """A file of a folder, of the hub's cache, or, where ``load`` permits that, of the hub."""
    if load not in LOADS:
        raise ConfigError(f'must be one of {LOADS}', field='load', received=load)
    if not isinstance(source, str) or not source:
        raise ConfigError('must be a folder, or the id OWNER/NAME of a model of the hub', field=field, received=source)
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / name).is_file():
            raise ConfigError(
                f'the folder has no {name}: it is none that transformers has written', field=field, received=source
            )
        return folder / name
    if source.count('/') != 1 or source.startswith(('.', '/', '~')):
        raise ConfigError(
            'there is no such folder, and it is no id OWNER/NAME of a model of the hub', field=field, received=source
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    library()
    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(hf_hub_download(source, name, local_files_only=True))
    if load == 'local':
        message = (
            "there is no such folder, and the hub's cache has no such model; load='hub' beside it permits the download"
        )
        raise ConfigError(message, field=field, received=source)
    try:
        with quiet():
            return Path(hf_hub_download(source, name))
    except RepositoryNotFoundError as error:
        raise ConfigError(
            'the hub has no such model, or only for those who are logged in', field=field, received=source
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f'cannot be fetched ({type(error).__name__})', field=field, received=source) from error
    except EntryNotFoundError as error:
        raise ConfigError(f'the model of the hub has no {name}', field=field, received=source) from error


def load_pretrained(
    auto_class: Any, source: str, config: Any, load: str = 'local', field: str = 'from_pretrained'
) -> tuple[Any, dict[str, list[str]]]:
    """A model of the library with published weights, from safetensors files alone.

    Args:
        auto_class: ``AutoModelForObjectDetection``, ``AutoBackbone`` or a class of the library.
        source: folder or id, see :func:`build_config`.
        config: of the model; where it has other classes, their tensors are new.
        load, field: see :func:`build_config`.

    Returns:
        The model in evaluation mode, and names of tensors: ``missing`` in the file, ``unexpected`` in it, ``mismatched`` in shape. The first and
        the last have the random values of a new model.

    Raises:
        ConfigError: no such folder or model.
        CheckpointError: no safetensors in it, or they cannot be read.
    """
    folder = _find_file(source, 'config.json', load, field).parent
    is_folder = Path(source).expanduser().is_dir()
    if is_folder and not any((folder / name).is_file() for name in _WEIGHT_FILES):
        pickles = sorted(path.name for path in folder.glob('*.bin'))
        said = f'{", ".join(pickles)} is a pickle, which can run code; ' if pickles else ''
        message = f'has no {_WEIGHT_FILES[0]}; {said}save_pretrained of transformers writes safetensors'
        raise CheckpointError(message, file=source)
    options: dict[str, Any] = dict(
        local_files_only=is_folder or load != 'hub', use_safetensors=True, trust_remote_code=False
    )
    try:
        with quiet():
            found, info = auto_class.from_pretrained(
                str(folder) if is_folder else source,
                config=config,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # broken files raise errors of many kinds
        message = f'the weights cannot be loaded ({type(error).__name__}: {" ".join(str(error).split())})'
        raise CheckpointError(message, file=source) from error
    names = {kind: sorted(_names(info.get(f'{kind}_keys', ()))) for kind in ('missing', 'unexpected', 'mismatched')}
    return found, names


def _names(keys: Iterable[Any]) -> list[str]:
    return [key if isinstance(key, str) else key[0] for key in keys]
