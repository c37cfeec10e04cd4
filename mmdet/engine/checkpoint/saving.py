"""Writing checkpoints so that any instant may be the last one, and finding the newest one that survived.

A checkpoint holds tensors and plain Python values only, hence ``torch.load(weights_only=True)`` reads it without an
allow-list. It is written under a temporary name in the same folder, flushed to the disk, then renamed over the final
name: the final name always holds either the old file or the whole new one. The pointer ``last_checkpoint`` is replaced
the same way, after the file it names.
"""

import os
import re
import shutil
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from ...errors import CheckpointError

POINTER_NAME = 'last_checkpoint'
LINK_NAME = 'latest.pth'
_NUMBERED = re.compile(r'^(epoch|iter)_(\d+)\.pth$')


def to_plain(value, *, unknown: Callable[[str, object], object] | None = None, where: str = ''):
    """Copy nested containers into tensors (on the CPU) and plain Python values.

    Args:
        value: what to convert. Arrays become tensors, numpy scalars become numbers, paths become strings, a
            ``HistoryBuffer`` becomes ``dict(log_history=..., count_history=..., max_length=...)`` with 1-D tensors.
        unknown: called with the place and the object for any other type; its result is stored. Raises by default.
        where: place of ``value`` in the checkpoint, for messages.

    Raises:
        CheckpointError: an object that has no plain form, and no ``unknown`` was given.
    """
    # bool and str subclasses (numpy's str_, enums) are excluded on purpose: exact types are what the safe unpickler
    # reads.
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

    def convert(item, name):
        return to_plain(item, unknown=unknown, where=f'{where}.{name}' if where else str(name))

    if isinstance(value, Counter):
        return Counter({convert(key, key): convert(count, key) for key, count in value.items()})
    if isinstance(value, Mapping):
        pairs = ((convert(key, key), convert(item, key)) for key, item in value.items())
        plain = OrderedDict(pairs) if isinstance(value, OrderedDict) else dict(pairs)
        metadata = getattr(value, '_metadata', None)
        if isinstance(metadata, Mapping) and isinstance(plain, OrderedDict):
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


def restore_history(value) -> HistoryBuffer | None:
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


def save_atomically(checkpoint: Mapping, path: str | os.PathLike) -> None:
    """Write ``checkpoint`` to ``path``: temporary name, flush, fsync, replace, fsync of the folder.

    Raises:
        CheckpointError: the disk is full or any other failure of the file system; older files are untouched and the
            temporary file is removed. Names the file and the free space.
    """
    _write_atomically(Path(path), lambda stream: torch.save(checkpoint, stream))


def write_pointer(folder: str | os.PathLike, checkpoint_path: str | os.PathLike, name: str = POINTER_NAME) -> None:
    """Replace the text file ``name`` in ``folder`` by one that names ``checkpoint_path``."""
    _write_atomically(Path(folder) / name, lambda stream: stream.write(os.fspath(checkpoint_path).encode()))


def write_link(folder: str | os.PathLike, checkpoint_path: str | os.PathLike, name: str = LINK_NAME) -> None:
    """Replace the symbolic link ``name``; file systems without links simply do not get one."""
    link = Path(folder) / name
    temporary = temporary_path(link)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(checkpoint_path, folder))
        os.replace(temporary, link)


def temporary_path(path: Path) -> Path:
    """The name under which ``path`` is written; hidden, and in the same folder so that the rename is atomic."""
    return path.with_name(f'.{path.name}.tmp')


def _write_atomically(path: Path, write: Callable) -> None:
    temporary = temporary_path(path)
    try:
        with open(temporary, 'wb') as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        # torch's zip writer reports a failing stream as RuntimeError.
        if isinstance(error, (OSError, RuntimeError)):
            raise CheckpointError(
                f'cannot be written ({type(error).__name__}: {_first_line(error)}); {_free_space(path.parent)}; '
                'older files are intact',
                file=path,
            ) from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [''])[0]


def _free_space(folder: Path) -> str:
    try:
        return f'{shutil.disk_usage(folder).free / 2**20:.0f} MiB free in {folder}'
    except OSError as error:
        return f'free space of {folder} unknown ({error.strerror})'


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; where folders cannot be opened the rename is atomic all the same."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale_temporaries(folder: str | os.PathLike) -> list[Path]:
    """Delete what a killed save left behind (``.*.pth.tmp``); returns what was deleted."""
    stale = [path for path in Path(folder).glob('.*.tmp') if path.name.endswith(('.pth.tmp', f'{POINTER_NAME}.tmp'))]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def is_intact(path: str | os.PathLike) -> bool:
    """Whether a file is a whole torch zip archive: its directory is there and every member's checksum fits."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError):
        return False


def find_newest(folder: str | os.PathLike, warn: Callable[[str], None]) -> Path | None:
    """Newest whole checkpoint of a work folder, or None.

    The pointer ``last_checkpoint`` comes first (a moved folder is allowed for: the same file name inside ``folder``
    counts). When it is missing, empty, or names a missing or torn file, the ``epoch_*.pth`` / ``iter_*.pth`` are tried,
    newest first.

    Args:
        warn: told about every file that is passed over, and why.
    """
    folder = Path(folder)
    tried = set()
    pointer = folder / POINTER_NAME
    if pointer.is_file():
        text = pointer.read_bytes().decode('utf-8', errors='replace').strip()
        candidates = [Path(text), folder / Path(text).name] if text else []
        named = next((path for path in candidates if path.is_file()), None)
        if named is not None and is_intact(named):
            return named
        if named is not None:
            tried.add(named.resolve())
            warn(f'{pointer} names {named}, which is torn; looking for an older checkpoint')
        else:
            warn(f'{pointer} names no existing file (it holds {text!r}); looking for the newest checkpoint in {folder}')
    for path in _numbered_newest_first(folder):
        if path.resolve() in tried:
            continue
        if is_intact(path):
            return path
        warn(f'{path} is torn; passed over')
    return None


def _numbered_newest_first(folder: Path) -> list[Path]:
    """By number, since copying a folder scrambles times; by time only where epochs and iterations are mixed."""
    found = [
        (match[1], int(match[2]), path)
        for path in folder.glob('*.pth')
        if (match := _NUMBERED.match(path.name)) and path.is_file()
    ]
    mixed = len({unit for unit, _, _ in found}) > 1
    return [
        path
        for *_, path in sorted(found, key=lambda item: item[2].stat().st_mtime_ns if mixed else item[1], reverse=True)
    ]


__all__ = [
    'POINTER_NAME', 'find_newest', 'is_intact', 'remove_stale_temporaries', 'restore_history', 'save_atomically',
    'temporary_path', 'to_plain', 'write_link', 'write_pointer',
]  # fmt: skip
