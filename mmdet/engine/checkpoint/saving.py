"""Save checkpoints so that a kill at any instant leaves a whole one, and find the newest whole one.

A checkpoint holds tensors and plain Python values only, hence ``torch.load(weights_only=True)`` reads it without an
allow-list. It is written by :mod:`mmdet.utils.files`: its name always holds either the old file or the whole new one.
The pointer ``last_checkpoint`` is replaced the same way, after the file it names.
"""

import copy
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import _ParamScheduler

from ...errors import CheckpointError
from ...formats.torch_file import check_file
from ...utils.checks import is_finite, is_number
from ...utils.files import replacing, write_atomically, write_bytes

POINTER_NAME = 'last_checkpoint'
LINK_NAME = 'latest.pth'
_NUMBERED = re.compile(r'^(epoch|iter)_(\d+)\.pth$')


def to_plain(value: Any, *, unknown: Callable[[str, object], object] | None = None, where: str = '') -> Any:
    """Copy nested containers into tensors (on the CPU) and plain Python values.

    Args:
        value: what to convert. Arrays become tensors, numpy scalars become numbers, paths become strings, a
            ``HistoryBuffer`` becomes ``dict(log_history=..., count_history=..., max_length=...)`` with 1-D tensors.
        unknown: called with the place and the object for any other type; its result is stored. By default such an
            object is an error.
        where: place of ``value`` in the checkpoint, for messages.

    Raises:
        CheckpointError: an object that has no plain form, and no ``unknown`` was given.
    """
    # Exact types only: the safe unpickler does not read subclasses such as enums and numpy's str_, which are converted below.
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return torch.from_numpy(np.array(value)) if value.dtype.kind in 'biuf' else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, HistoryBuffer):
        log_history, count_history = value.data
        return dict(
            log_history=torch.from_numpy(np.array(log_history)),
            count_history=torch.from_numpy(np.array(count_history)),
            max_length=value.max_length,
        )

    def convert(item: Any, name: object) -> Any:
        return to_plain(item, unknown=unknown, where=f'{where}.{name}' if where else str(name))

    if isinstance(value, Counter):
        return Counter({convert(key, key): convert(count, key) for key, count in value.items()})
    if isinstance(value, Mapping):
        pairs = ((convert(key, key), convert(item, key)) for key, item in value.items())
        plain: Any = OrderedDict(pairs) if isinstance(value, OrderedDict) else dict(pairs)
        metadata = getattr(value, '_metadata', None)
        if isinstance(metadata, Mapping) and isinstance(value, OrderedDict):
            plain._metadata = OrderedDict((key, convert(item, '_metadata')) for key, item in metadata.items())
        return plain
    if isinstance(value, tuple):
        return tuple(convert(item, index) for index, item in enumerate(value))
    if isinstance(value, (list, set, frozenset)) or type(value).__name__ == 'deque':
        return [convert(item, index) for index, item in enumerate(value)]
    if isinstance(value, (str, bool, int, float)):
        return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if unknown is None:
        raise CheckpointError(
            'only tensors and plain Python values can be saved', field=where, received=type(value).__name__
        )
    return unknown(where, value)


def restore_history(value: object) -> HistoryBuffer | None:
    """Rebuild a ``HistoryBuffer`` from what :func:`to_plain` made of it; None when ``value`` is something else."""
    if isinstance(value, HistoryBuffer):
        return value
    if not isinstance(value, Mapping) or 'log_history' not in value or 'count_history' not in value:
        return None
    buffer = HistoryBuffer(max_length=int(value.get('max_length', 1000000)))
    # A resume reads the checkpoint onto the device of the training, these tensors with it.
    buffer._log_history = torch.as_tensor(value['log_history']).cpu().numpy()
    buffer._count_history = torch.as_tensor(value['count_history']).cpu().numpy()
    return buffer


def scheduler_states(schedulers: dict | list) -> dict | list:
    """States of parameter schedulers: a list, or for several optimizers a dict of lists."""
    if isinstance(schedulers, dict):
        return {name: scheduler_states(group) for name, group in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]


def pair_schedulers(
    schedulers: dict | list, states: dict | list, filename: str
) -> Iterator[tuple[_ParamScheduler, dict]]:
    """Pair schedulers with their saved states, of which there must be as many."""
    by_name, states_by_name = (value if isinstance(value, dict) else {'': value} for value in (schedulers, states))
    for name, group in by_name.items():
        group_states = states_by_name.get(name, [])
        if len(group) != len(group_states):
            raise CheckpointError(
                f'has {len(group_states)} parameter schedulers, this config {len(group)}; '
                'resume with the config of the run',
                file=filename,
            )
    for name, group in by_name.items():
        group_states = states_by_name.get(name, [])
        for scheduler, state in zip(group, group_states):
            own = vars(scheduler)
            if not isinstance(state, Mapping):
                message = 'cannot be resumed: a state must be a dict'
                raise CheckpointError(message, file=filename, field='param_schedulers', received=state)
            for key in state.keys() & own.keys():
                if is_number(own[key]) and not is_finite(state[key]):
                    place = f'param_schedulers.{key}'
                    raise CheckpointError('must be a number', file=filename, field=place, received=state[key])
        yield from zip(group, copy.deepcopy(group_states))


def save_atomically(checkpoint: Mapping, path: str | os.PathLike) -> None:
    """Write ``checkpoint`` to ``path`` by :func:`~mmdet.utils.files.write_atomically`, whose failures are a ``CheckpointError``."""

    def write(stream: BinaryIO) -> None:
        try:
            torch.save(checkpoint, stream)
        except RuntimeError as error:  # that is how torch's zip writer reports a stream that fails
            raise OSError(str(error)) from error

    write_atomically(os.fspath(path), write, error=CheckpointError)


def write_pointer(folder: str | os.PathLike, checkpoint_path: str | os.PathLike, name: str = POINTER_NAME) -> None:
    """Replace the text file ``name`` in ``folder`` by one that names ``checkpoint_path``."""
    write_bytes(Path(folder) / name, os.fspath(checkpoint_path).encode(), error=CheckpointError)


def write_link(folder: str | os.PathLike, checkpoint_path: str | os.PathLike, name: str = LINK_NAME) -> None:
    """Replace the symbolic link ``name``; a file system that has no links gets none."""
    with suppress(CheckpointError), replacing(Path(folder) / name, error=CheckpointError) as temporary:
        temporary.symlink_to(os.path.relpath(checkpoint_path, folder))


def is_intact(path: str | os.PathLike) -> bool:
    """Whether a file is a whole torch zip archive: torch opens it, and its headers and check sums are right."""

    try:
        with open(path, 'rb') as stream:  # once: another process may replace the file meanwhile
            check_file(Path(path), stream)
            stream.seek(0)
            torch._C.PyTorchFileReader(stream)  # reads the table of contents, of which it is stricter
    except (CheckpointError, OSError, RuntimeError):
        return False
    return True


def find_newest(folder: str | os.PathLike, warn: Callable[[str], None]) -> Path | None:
    """Newest whole checkpoint of a work folder, or None.

    The file that the pointer ``last_checkpoint`` names comes first, the one inside ``folder`` before the one at the path: a folder that was
    copied or moved is continued from its own files. When the pointer is missing or empty, or its file is missing or torn, ``epoch_*.pth`` and
    ``iter_*.pth`` are tried, newest first.

    Args:
        folder: the work folder.
        warn: called with a message for every file that is passed over.
    """
    folder = Path(folder)
    torn = None
    pointer = folder / POINTER_NAME
    if pointer.is_file():
        text = pointer.read_bytes().decode('utf-8', errors='replace').strip()
        candidates = [folder / Path(text).name, Path(text)] if text else []
        named = next((path for path in candidates if path.is_file()), None)
        if named is not None and is_intact(named):
            return named
        if named is not None:
            torn = named.resolve()
            warn(f'{pointer} names {named}, which is torn; looking for an older checkpoint')
        else:
            warn(f'{pointer} names no existing file (it holds {text!r}); looking for the newest checkpoint in {folder}')
    for path in _numbered_newest_first(folder):
        if path.resolve() != torn:
            if is_intact(path):
                return path
            warn(f'{path} is torn; passed over')
    return None


def _numbered_newest_first(folder: Path) -> list[Path]:
    """By number, since copying a folder scrambles times; by time only where epochs and iterations are mixed."""
    matches = {path: _NUMBERED.match(path.name) for path in folder.glob('*.pth') if path.is_file()}
    found = {path: match for path, match in matches.items() if match}
    mixed = len({match[1] for match in found.values()}) > 1
    return sorted(found, key=lambda path: path.stat().st_mtime_ns if mixed else int(found[path][2]), reverse=True)
