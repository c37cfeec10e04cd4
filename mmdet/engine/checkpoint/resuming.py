"""What a checkpoint says of the run that wrote it, and what of it is different in the run that resumes it."""

import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from ...errors import CheckpointError
from ...utils.checks import is_finite as is_within_range
from ...utils.checks import is_number
from .reading import is_finite

_CHUNK_BYTES = 1 << 20


def optimizer_types(wrapper: OptimWrapper | OptimWrapperDict) -> str | dict[str, str]:
    """Name of the optimizer's class; of each one by its name if there are several."""
    if isinstance(wrapper, OptimWrapperDict):
        return {name: type(single.optimizer).__name__ for name, single in wrapper.items()}
    return type(wrapper.optimizer).__name__


def annotations_of(dataset: Any) -> list[dict]:
    """What identifies the annotations of a training set, for each of its files: ``dict(file, images, crc32)``.

    ``images`` is the number of records after filtering; of a list of files, the first entry has that of all of them, with ``files``, their
    number, and the others have None. ``crc32`` is that of the file's bytes, or of the names and sizes of a folder's files;
    None for annotations that are neither.
    """
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if parts[0] is not None:
        return [entry for part in parts for entry in annotations_of(part)]
    files = getattr(dataset, 'ann_file', None) or ''
    files = [os.fspath(file) for file in (files if isinstance(files, list | tuple) else [files])]
    entries: list[dict] = [dict(file=file, images=None, crc32=_digest(Path(file)) if file else None) for file in files]
    entries[0].update(images=len(dataset), **(dict(files=len(files)) if len(files) > 1 else {}))
    return entries


def _digest(path: Path) -> int | None:
    crc = 0
    try:
        if path.is_dir():
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                crc = zlib.crc32(f'{entry.name} {entry.stat().st_size}\n'.encode(errors='surrogateescape'), crc)
            return crc
        if not path.is_file():
            return None
        with path.open('rb') as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                crc = zlib.crc32(chunk, crc)
        return crc
    except OSError:  # it went away since the training set was read
        return None


def changes(stored: Mapping, now: Mapping) -> Iterator[str]:
    """One sentence for each entry of the checkpoint's ``meta`` that differs from this run; entries that one of them lacks say nothing.

    Args:
        stored: ``meta`` of the checkpoint.
        now: the same entries of this run: ``world_size``, ``batch_size``, ``annotations``, ``dataset_meta``.
    """
    if _differ('world_size', stored, now):
        yield (
            f'The checkpoint comes from {stored["world_size"]} processes, this run has {now["world_size"]}: '
            'it goes on, but not with the batches of the unbroken run.'
        )
    if _differ('batch_size', stored, now):
        yield (
            f'The checkpoint comes from a run with {stored["batch_size"]} images a batch, this run has {now["batch_size"]}: '
            'it goes on, but not with the batches of the unbroken run.'
        )
    classes, own = ((meta.get('dataset_meta') or {}).get('classes') for meta in (stored, now))
    if classes is not None and own is not None and list(classes) != list(own):
        yield f'The checkpoint was trained on the classes {tuple(classes)}, the dataset has {tuple(own)}.'
    yield from _annotation_changes(stored.get('annotations') or [], now.get('annotations') or [])


def _differ(key: str, stored: Mapping, now: Mapping) -> bool:
    return stored.get(key) is not None and now.get(key) is not None and stored[key] != now[key]


def _annotation_changes(stored: list[dict], now: list[dict]) -> Iterator[str]:
    if not stored or not now:
        return
    if len(stored) != len(now):
        yield f'The checkpoint was trained on {len(stored)} annotation files, this run has {len(now)}.'
        return
    for old, new in zip(stored, now):
        what = []
        known = None not in (old['crc32'], new['crc32'])
        if known and old['crc32'] != new['crc32']:
            what.append('its content')
        if None not in (old['images'], new['images']) and old['images'] != new['images']:
            joined = f', counted over the {new["files"]} files of its list' if 'files' in new else ''
            what.append(f'the number of its images in use{joined}, {old["images"]} before and now {new["images"]}')
        if old['file'] != new['file']:
            same = '' if what else ', of the same content' if known else ''
            what.insert(0, f'its path, {old["file"]} before{same}')
        if what:
            yield f'The training annotations {new["file"]} differ from those of the checkpoint in {"; ".join(what)}.'


def check_optimizer(stored: Mapping, wrapper: OptimWrapper | OptimWrapperDict, filename: str) -> None:
    """Refuse the state of another type of optimizer, or one that is not finite.

    Args:
        stored: the checkpoint.
        wrapper: optimizer of this run.
        filename: the checkpoint's, for messages.

    Raises:
        CheckpointError: see above.
    """
    before, own = stored['meta'].get('optimizer_type'), optimizer_types(wrapper)
    if before is not None and before != own:
        raise CheckpointError(
            f'its optimizer is {before}, that of the config {own}: the one cannot continue the state of the other. Resume with the '
            'optimizer of the run, or start a new training from its weights: load_from=FILE without resume',
            file=filename,
        )
    wrong = next((name for name, value in _tensors(stored['optimizer'], 'optimizer') if not is_finite(value)), None)
    if wrong is not None:
        raise CheckpointError(
            'is not finite: the training cannot go on; resume an older checkpoint', file=filename, record=wrong
        )


def _tensors(value: Any, where: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield where, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != 'accumulated_gradients':  # those of float16 may overflow: the loss scaler leaves such a step out
                yield from _tensors(item, f'{where}.{key}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(item, f'{where}.{index}')


def settings(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Any]:
    """Settings of each group of parameters, those that a schedule changes by their initial values."""
    wrappers = wrapper if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}
    found: dict[str, Any] = {}
    for name, single in wrappers.items():
        for index, group in enumerate(single.optimizer.param_groups):
            for key, value in group.items():
                if key != 'params' and not key.startswith('initial_'):
                    value = group.get(f'initial_{key}', value)
                    found[f'{name}.{index}.{key}'] = value.tolist() if isinstance(value, torch.Tensor) else value
    return found


def check_settings(config: Mapping[str, Any], wrapper: OptimWrapper | OptimWrapperDict, filename: str) -> None:
    """Refuse settings that an optimizer has from a checkpoint and that are no numbers where the config has numbers.

    Args:
        config: :func:`settings` before the checkpoint was loaded.
        wrapper: the optimizer afterwards.
        filename: the checkpoint's, for messages.

    Raises:
        CheckpointError: names the setting.
    """
    wrappers = wrapper if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}
    for name, single in wrappers.items():
        for index, group in enumerate(single.optimizer.param_groups):
            for key, value in {'lr': None, **group}.items():
                own = config.get(f'{name}.{index}.{key.removeprefix("initial_")}')
                value = value.tolist() if isinstance(value, torch.Tensor) else value
                pairs = (
                    zip(own, value) if isinstance(own, tuple) and isinstance(value, tuple | list) else [(own, value)]
                )
                if any(
                    not is_within_range(now) for before, now in pairs if is_number(before) or isinstance(before, tuple)
                ):
                    raise CheckpointError(
                        'must be a finite number', file=filename, field=f'optimizer.{key}', received=value
                    )


def settings_change(config: Mapping[str, Any], loaded: Mapping[str, Any]) -> Iterator[str]:
    """A sentence if settings of the optimizer differ, which a resume takes from the checkpoint; :func:`settings` before and after."""
    found = {
        f'{place.rpartition(".")[2]} {loaded[place]} and not {value}': None
        for place, value in config.items()
        if place in loaded and loaded[place] != value
    }
    if found:
        yield f"The optimizer keeps the checkpoint's settings, not the config's: {', '.join(list(found)[:5])}."


def check_averages(checkpoint: Mapping, averaging: bool, filename: str) -> Iterator[str]:
    """Compare the averaged weights of a checkpoint with what the run needs; yields a sentence for what is odd.

    A checkpoint with averages holds them as ``state_dict``, and the model's own weights as ``ema_state_dict``.

    Args:
        checkpoint: content of the file.
        averaging: this run has an ``EMAHook``.
        filename: the checkpoint's, for messages.

    Raises:
        CheckpointError: the two do not belong together, or the model's own weights are not finite (``load_into`` looks at the averages).
    """
    state, other = checkpoint['state_dict'], checkpoint.get('ema_state_dict')
    if other is None:
        return  # if the run has an EMAHook, that says so
    if not averaging:
        yield 'The checkpoint has averaged weights, but the config has no EMAHook: training goes on from the averages.'
        return
    own = {}
    if isinstance(other, Mapping):
        own = {name[7:]: value for name, value in other.items() if str(name).startswith('module.')}
    if own.keys() != state.keys() or any(getattr(own[name], 'shape', None) != state[name].shape for name in own):
        raise CheckpointError(
            'must have the names and shapes of state_dict, after module.', file=filename, field='ema_state_dict'
        )
    wrong = next((name for name, value in own.items() if not is_finite(value)), None)
    if wrong is not None:
        raise CheckpointError(
            'is not finite: the training cannot go on; resume an older checkpoint',
            file=filename,
            record=f'ema_state_dict.module.{wrong}',
        )
