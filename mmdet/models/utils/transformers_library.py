"""The library transformers, for the modules that make its models parts of this package: its configs, checked, and published weights, read safely.

Nothing here runs code of a model's publisher or reads pickles, and only ``load='hub'`` lets it use the network. The library is imported inside the
functions: it is optional (the extra ``transformers``), and takes seconds.
"""

import contextlib
import copy
import difflib
import functools
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from unittest import mock

import torch
from mmengine.logging import print_log
from torch import nn

from mmdet.errors import CheckpointError, ConfigError, one_line
from mmdet.utils.class_names import shown
from mmdet.utils.tracing import Traceable, whole

LOADS = ('local', 'hub')
_INSTALL = 'pip install "mmdet-dense[transformers]"'
_OLDEST, _BELOW = (5, 24), (6,)
_CONFIG, _WEIGHTS, _INDEX = 'config.json', 'model.safetensors', 'model.safetensors.index.json'
_POINTER = b'version https://git-lfs'
# Keys that every config of the library takes, although they are no fields of its class.
_COMMON_KEYS = {'model_type', 'attn_implementation'}
# Torch's own. For the others the library fetches kernels, which are programs, from the hub.
_ATTENTION = ('eager', 'sdpa')
# What a file or a config has beside what a model is built of: names of its own classes, the type of its numbers (here float32), where it lay.
_NOT_TAKEN = {
    'id2label', 'label2id', 'num_labels', 'dtype', 'torch_dtype', 'architectures', 'auto_map', 'name_or_path', '_name_or_path', 'transformers_version',
}  # fmt: skip


@functools.cache
def library() -> Any:
    """The module ``transformers``.

    Raises:
        ConfigError: it is not installed, or of a version whose losses or names are others.
    """
    try:
        import transformers
    except ImportError as error:
        message = f'is not installed, and the model is one of its: {_INSTALL}'
        raise ConfigError(message, field='transformers', received=str(error)) from error
    version = tuple(int(part) for part in transformers.__version__.split('.')[:2])
    if not _OLDEST <= version < _BELOW:
        # Before 5.24 the main loss of D-FINE and RT-DETR took in the denoising queries (huggingface/transformers #48528).
        message = f'must be of version 5.24 or later, below 6: {_INSTALL}'
        raise ConfigError(message, field='transformers', received=transformers.__version__)
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's warnings and progress bars: what matters of them is said by the callers."""
    messages = library().utils.logging
    verbosity, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(verbosity)
        if bars:
            messages.enable_progress_bar()


# ------------------------------------------------------------------------------------------------ configs


def build_config(
    model: Mapping[str, Any], field: str = 'model', load: str = 'local', defaults: Mapping | None = None, **forced: Any
) -> Any:
    """The library's config of a dict.

    Args:
        model: ``model_type`` and keys of the library's config of that type; or ``from_pretrained``, a folder or the id of a model of the hub, and keys
            that differ from its ``config.json``. Dicts of parts (``backbone_config``) are merged with those of the file. ``attn_implementation``,
            of the model or of a part, is ``'eager'`` or ``'sdpa'``. With
            ``transformers_version`` the dict is one of :func:`full_dict`, complete, and the file is not looked at.
        field: name of the dict in messages.
        load: ``'local'`` for folders, and for models of the hub that are in its cache; ``'hub'`` permits the network.
        defaults: values of keys that neither ``model`` nor the file has, where the type has such keys.
        **forced: keys that are the caller's affair, such as ``num_labels``.

    Raises:
        ConfigError: no such type, key or folder, or a value of another type than the library's.
    """
    if not isinstance(model, Mapping) or all(model.get(key) is None for key in ('model_type', 'from_pretrained')):
        raise ConfigError('must be a dict with model_type or from_pretrained', field=field, received=model)
    if load not in LOADS:
        raise ConfigError(f'must be one of {LOADS}', field='load', received=load)
    given = plain(model)
    source, version = given.pop('from_pretrained', None), given.pop('transformers_version', None)
    if version is not None:
        _compare_version(version)
    base = {} if source is None or version is not None else pretrained_config(source, load, f'{field}.from_pretrained')
    kind = given.pop('model_type', base.get('model_type'))
    if kind != base.get('model_type', kind):
        message = f'the model of from_pretrained is of the type {base["model_type"]}'
        raise ConfigError(message, field=f'{field}.model_type', received=kind)
    cls = _config_class(kind, field)
    _check_keys(cls, given, base, field)
    known = _known_keys(cls)
    keys = {name: value for name, value in (defaults or {}).items() if name in known}
    keys |= {name: value for name, value in _merged(base, given).items() if name not in _NOT_TAKEN | {'model_type'}}
    try:
        with quiet():
            config = cls(**keys | forced)
    except Exception as error:  # the library checks types and sizes by exceptions of several kinds
        message = f'transformers refuses it: {one_line(error)}'
        key = re.match(r"\w+ error for field '(\w+)'", str(error))
        if key is not None and key[1] in keys:
            raise ConfigError(message, field=f'{field}.{key[1]}', received=keys[key[1]]) from error
        raise ConfigError(message, field=field, received=kind) from error
    _set_attention(config, given)
    return config


def _set_attention(config: Any, given: Mapping, outer: str | None = None) -> None:
    """Set ``attn_implementation`` of a config and of its parts, each as given or as that around it.

    ``'sdpa'`` counts for one part alone: it is the default of those that can, and the library refuses it for those that cannot, such as convolutions.
    """
    own = given.get('attn_implementation') or outer
    config._attn_implementation = own
    for name in config.sub_configs:
        part = getattr(config, name, None)
        if part is not None:
            _set_attention(part, given.get(name) or {}, None if own == 'sdpa' else own)


def full_dict(config: Any) -> dict:
    """Every key of a config of the library, and the library's version: what :func:`build_config` takes without a file, whatever the defaults are then.

    The number of classes, and what a config computes from other keys, are left out.
    """
    return {'model_type': config.model_type, **_values(config), 'transformers_version': library().__version__}


def complete_config(node: Any, modules: nn.Module) -> None:
    """Write into a config, in place, every key of the library's models that were built of it.

    Args:
        node: config of the modules; each ``model`` of a dict in it that a module was given becomes the module's ``full_config()``, and its ``load``
            local, since that needs no file.
        modules: what was built of it; those with ``given_config`` and ``full_config()`` count.
    """
    parts: list[Any] = [part for part in modules.modules() if hasattr(part, 'full_config')]
    found = [(part.given_config, part.full_config()) for part in parts]
    _complete(node, found)


def _complete(node: Any, found: list[tuple[dict, dict]]) -> None:
    if isinstance(node, Mapping):
        full = next((full for given, full in found if 'type' in node and plain(node.get('model')) == given), None)
        if full is not None:
            cast(dict, node).update(model=copy.deepcopy(full), load='local')
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for part in node:
            _complete(part, found)


def new_model(auto_class: str, config: Any, field: str = 'model') -> Any:
    """A model with new weights in float32, in training mode; ``auto_class`` is the name of a class of the library, as for :func:`load_pretrained`.

    Raises:
        ConfigError: its sizes do not fit together.
    """
    try:
        with quiet():
            return getattr(library(), auto_class).from_config(config, dtype=torch.float32).train()
    except Exception as error:  # of several kinds: the first layer that cannot be made, or used
        message = f'transformers cannot build the model ({type(error).__name__}: {one_line(error)})'
        raise ConfigError(message, field=field, received=config.model_type) from error


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """No connections by the library: even where it is told to read local files only, its client asks the hub for a list of programs."""
    library()
    from huggingface_hub import constants

    with mock.patch.object(constants, 'HF_HUB_OFFLINE', True), quiet():
        yield


@contextlib.contextmanager
def unchecked(model: nn.Module) -> Iterator[None]:
    """Without the library's comparisons of sizes within the passes of a model: they read values, which tracers, compilers and counters of shapes do not have."""
    with _replaced(model, torch_compilable_check=_compare_nothing):
        yield


@contextlib.contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """:func:`unchecked`, and as exporters can write it, for all sizes: see :class:`mmdet.utils.tracing.Traceable`."""
    with unchecked(model), _replaced(model, int=whole), Traceable():
        yield


@contextlib.contextmanager
def _replaced(model: nn.Module, **functions: Any) -> Iterator[None]:
    """With other functions under some names, in the library's files that have the layers of a model."""
    files = {type(part).__module__ for part in model.modules()}
    with contextlib.ExitStack() as stack:
        for file in files:
            if file.startswith('transformers.models.'):
                stack.enter_context(mock.patch.multiple(sys.modules[file], create=True, **functions))
        yield


def _compare_nothing(*args: Any, **kwargs: Any) -> None:
    """One function for all passes: compiled code is compiled anew where a function is another."""


def plain(value: Any) -> Any:
    """A copy of a config's value out of dicts, lists and plain values."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else copy.deepcopy(value)


def _values(config: Any) -> dict:
    known, found = _known_keys(type(config)), {}
    if config._attn_implementation in _ATTENTION:
        found['attn_implementation'] = config._attn_implementation
    for name, value in config.to_dict().items():
        part = getattr(config, name, None)
        if isinstance(part, library().PreTrainedConfig):
            found[name] = {'model_type': part.model_type, **_values(part)}
        elif name in known:
            found[name] = plain(value)
    return found


def _config_class(kind: Any, field: str) -> Any:
    classes = library().CONFIG_MAPPING
    if not isinstance(kind, str) or kind not in classes:
        near = difflib.get_close_matches(str(kind), list(classes.keys()))
        hint = f'near names: {", ".join(near)}' if near else 'model_type is the name of a folder of transformers/models'
        raise ConfigError(f'transformers has no model of this type; {hint}', field=f'{field}.model_type', received=kind)
    return classes[kind]


def _known_keys(cls: Any) -> set[str]:
    settable = (name for name in dir(cls) if getattr(getattr(cls, name, None), 'fset', None) is not None)
    return {*_COMMON_KEYS, *cls.__dataclass_fields__, *cls.attribute_map, *settable} - _NOT_TAKEN


def _check_keys(cls: Any, given: Mapping, base: Mapping, field: str) -> None:
    """ConfigError for a key, here or in the config of a part, which the library would keep without using it."""
    known, parts = _known_keys(cls), cls.sub_configs_defaults
    for key, value in given.items():
        if key in _NOT_TAKEN:
            message = 'is not taken from here: the arguments of the module say what classes there are, and weights are float32'
            raise ConfigError(message, field=f'{field}.{key}', received=value)
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=4)
            hint = f'near names: {", ".join(near)}' if near else f'it has {", ".join(sorted(known))}'
            raise ConfigError(f'{cls.__name__} has no key of this name; {hint}', field=field, received=key)
        if key == 'attn_implementation' and value not in (None, *_ATTENTION):
            raise ConfigError(f'must be one of {_ATTENTION}', field=f'{field}.{key}', received=value)
        if key in parts and isinstance(value, Mapping):
            inner, inside = base.get(key) or {}, f'{field}.{key}'
            kind = value.get('model_type', inner.get('model_type', parts[key].model_type))
            _check_keys(_config_class(kind, inside), value, inner, inside)


def _merged(base: Mapping, given: Mapping) -> dict:
    """``given`` over ``base``; dicts in both are merged, unless they are of different types."""
    found = dict(base)
    for key, value in given.items():
        old = base.get(key)
        if (
            isinstance(value, dict)
            and isinstance(old, dict)
            and value.get('model_type') in (None, old.get('model_type'))
        ):
            value = _merged(old, value)
        found[key] = value
    return found


def _compare_version(written: str) -> None:
    if written != library().__version__:
        message = f'The model was written with transformers {written}, this is {library().__version__}, where it may compute otherwise'
        print_log(message, logger='current', level=logging.WARNING)


# ------------------------------------------------------------------------------------------------ published weights


def pretrained_config(source: Any, load: str = 'local', field: str = 'model.from_pretrained') -> dict:
    """What ``config.json`` of a folder, or of a model of the hub, says.

    Raises:
        ConfigError: there is none, or none without the network that ``load`` forbids.
    """
    file = _folder_of(source, load, field) / _CONFIG
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'cannot be read as JSON ({error})', file=file, field=field) from error
    if not isinstance(found, dict) or 'model_type' not in found:
        message = 'must be a dict with model_type, as transformers writes it'
        raise ConfigError(message, file=file, field=field, received=type(found).__name__)
    return found


def load_pretrained(
    auto_class: str, source: str, config: Any, load: str = 'local', field: str = 'model.from_pretrained'
) -> tuple[Any, dict[str, list[str]]]:
    """A model of the library with published weights, from safetensors alone.

    Args:
        auto_class: name of a class of the library, ``'AutoModelForObjectDetection'`` or ``'AutoBackbone'``.
        source: folder or id of the hub.
        config: of the model; where its sizes are others, tensors are new.
        load, field: see :func:`build_config`.

    Returns:
        The model in evaluation mode, and names of its tensors: ``missing`` in the file, ``unexpected`` in it, ``mismatched`` in shape. The first and the
        last kind are as in a new model.

    Raises:
        ConfigError: no such folder or model.
        CheckpointError: it has no safetensors, they cannot be read, or are not finite.
    """
    folder = _folder_of(source, load, field)
    if not Path(source).expanduser().is_dir():
        _fetch_weights(source, load, field)
    if _is_pointer(folder / _WEIGHTS):
        message = f'{_WEIGHTS} is a pointer of git-lfs, not the weights themselves: `git lfs pull` fetches them'
        raise CheckpointError(message, file=source, field=field)
    if not any((folder / name).is_file() for name in (_WEIGHTS, _INDEX)):
        pickles = sorted(path.name for path in folder.glob('*.bin'))
        said = f'; {", ".join(pickles)} is a pickle, which can run code, and is not read' if pickles else ''
        message = f'has no {_WEIGHTS}{said}. model.save_pretrained(FOLDER) of transformers writes one'
        raise CheckpointError(message, file=source, field=field)
    try:
        with _offline():
            found, info = getattr(library(), auto_class).from_pretrained(
                str(folder), config=config, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                ignore_mismatched_sizes=True, output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # broken files raise errors of many kinds
        message = f'the weights cannot be loaded ({type(error).__name__}: {one_line(error)})'
        raise CheckpointError(message, file=source, field=field) from error
    names = {kind: sorted(_names(info[f'{kind}_keys'])) for kind in ('missing', 'unexpected', 'mismatched')}
    new = {*names['missing'], *names['mismatched']}
    # Parameters only: anchors, which are buffers, may be infinite.
    broken = [name for name, value in found.named_parameters() if name not in new and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f'the weights are not finite: {shown(broken)}', file=source, field=field)
    return found, names


def _is_pointer(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open('rb') as content:
        return content.read(len(_POINTER)) == _POINTER


def _names(keys: Iterable[Any]) -> list[str]:
    return [key if isinstance(key, str) else key[0] for key in keys]  # a name, or a name and two shapes


def _folder_of(source: Any, load: str, field: str) -> Path:
    """The folder with ``config.json``: the given one, or that of a model of the hub in its cache."""
    if not isinstance(source, str) or not source:
        raise ConfigError('must be a folder, or the id OWNER/NAME of a model of the hub', field=field, received=source)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if source.count('/') != 1 or source.startswith(('.', '/', '~')):
            message = 'there is no such folder, and it is no id OWNER/NAME of a model of the hub'
            raise ConfigError(message, field=field, received=source)
        folder = _fetch(source, _CONFIG, load, field).parent
    if not (folder / _CONFIG).is_file():
        message = f'the folder has no {_CONFIG}: it is none that transformers has written'
        raise ConfigError(message, field=field, received=source)
    return folder


def _fetch_weights(source: str, load: str, field: str) -> None:
    """Have the safetensors of a model of the hub in its cache, one file or several with an index; where it has none, nothing."""
    from huggingface_hub.errors import EntryNotFoundError

    with contextlib.suppress(EntryNotFoundError):
        _fetch(source, _WEIGHTS, load, field, optional=True)
        return
    with contextlib.suppress(EntryNotFoundError):
        index = json.loads(_fetch(source, _INDEX, load, field, optional=True).read_text(encoding='utf-8'))
        for name in sorted(set(index['weight_map'].values())):
            _fetch(source, name, load, field)


def _fetch(source: str, name: str, load: str, field: str, optional: bool = False) -> Path:
    """A file of a model of the hub, from its cache or, where ``load`` permits that, by the network; EntryNotFoundError where it may be missing."""
    library()
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        found = try_to_load_from_cache(source, name)
    except HFValidationError as error:
        message = f'there is no such folder, and it is no id of a model of the hub ({one_line(error)})'
        raise ConfigError(message, field=field, received=source) from error
    if isinstance(found, str):
        return Path(found)
    if load == 'local':
        if optional:
            raise EntryNotFoundError(name)
        message = f"there is no such folder, and the hub's cache has no {name} of such a model. `hf download {source}` fetches it, and so does a training with load='hub'"
        raise ConfigError(message, field=field, received=source)
    _check_connection(source, field)
    try:
        with quiet():
            return Path(hf_hub_download(source, name))
    except RepositoryNotFoundError as error:
        message = 'the hub has no such model, or shows it only to those who are logged in (`hf auth login`)'
        raise ConfigError(message, field=field, received=source) from error
    except (OSError, EntryNotFoundError) as error:
        # The local kind says that the connection was lost.
        if optional and isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise
        raise ConfigError(f'{name} cannot be fetched ({one_line(error)})', field=field, received=source) from error


def _check_connection(source: str, field: str) -> None:
    """ConfigError where the hub cannot be reached, at once: the library would try it again for more than a minute."""
    from huggingface_hub import get_session, hf_hub_url

    try:
        get_session().head(hf_hub_url(source, _CONFIG), timeout=10)
    except Exception as error:  # of the client's own kinds
        message = f'the hub cannot be reached ({one_line(error)}); folders, and models in the cache, need no network'
        raise ConfigError(message, field=field, received=source) from error
