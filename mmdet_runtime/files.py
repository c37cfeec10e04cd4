"""The package's one writer: a file appears under its name whole, or not at all.

A file is written under a temporary name in the same folder, flushed to the disk, and then put in place of an older one, so that a full disk, a
kill or a power cut leaves the older one as it was. Temporary names are unique, hence two writers of one file do not tear it: the last one wins.
They name the process that writes, ``.NAME.HOST-PID-STARTED-RANDOM.tmp``, so that leftovers of killed processes can be told from files that a
living process is writing. The leftovers of a folder are deleted when a process writes its first file there.

Journals and logs grow by whole lines (:class:`LineFile`). Every file that the package writes is written here; which names outputs may have is
decided in :mod:`mmdet_runtime.names`.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import socket
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np

from .errors import DataError, MMDetError

# What is done before a process ends whose main thread hangs: whoever ends it calls these.
LAST_ACTS: list[Callable[[], object]] = []

_TEMPORARY = re.compile(
    r'^\..*\.(?P<host>[\w-]+)-(?P<pid>\d{1,9})-(?P<started>\d+)-[0-9a-f]{8}\.tmp(\.\w+)?$', re.ASCII
)
_NAME_BYTES = 150  # of the final name inside the temporary one: file systems allow 255
_swept: set[Path] = set()


@functools.cache
def host_name() -> str:
    """Name of this machine as it stands in the names of files: letters, digits, _ and - only."""
    name = re.sub(r'[^\w-]', '_', socket.gethostname(), flags=re.ASCII) or 'host'
    # Pods of one job have long names that differ at the end only.
    return name if len(name) <= 30 else f'{name[:21]}-{zlib.crc32(name.encode()):08x}'


def start_of(pid: int) -> int:
    """When a process of this machine started, in the kernel's ticks: tells it from a later one of the same number.

    -1 for a process that has ended and was not yet waited for, 0 where the system does not say.
    """
    try:
        fields = Path(f'/proc/{pid}/stat').read_bytes().rpartition(b')')[2].split()
        return -1 if fields[0] in b'ZX' else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def temporary_path(path: str | Path, *, keep_suffix: bool = False) -> Path:
    """A name for writing ``path``: hidden, unique, in the same folder, and with its writer in it.

    Args:
        path: the final name.
        keep_suffix: end in the suffix of ``path``, for libraries that choose a format by it.
    """
    path, pid = Path(path), os.getpid()
    name = path.name.encode(errors='ignore')[:_NAME_BYTES].decode(errors='ignore')
    writer = f'{host_name()}-{pid}-{start_of(pid)}-{uuid.uuid4().hex[:8]}'
    return path.with_name(f'.{name}.{writer}.tmp{path.suffix if keep_suffix else ""}')


def remove_stale_temporaries(folder: str | Path) -> list[Path]:
    """Delete what killed writers of this machine left in ``folder``; returns the deleted files.

    Files of running processes and of other machines stay.
    """
    removed = []
    with contextlib.suppress(OSError):  # no such folder, or one that cannot be read: nothing to delete
        for entry in os.scandir(folder):
            match = _TEMPORARY.match(entry.name)
            if match and match['host'] == host_name() and not is_alive(int(match['pid']), int(match['started'])):
                with contextlib.suppress(OSError):  # another process sweeps, too, or the folder is read-only
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
                    removed.append(Path(entry.path))
    return sorted(removed)


def is_alive(pid: int, started: int) -> bool:
    """Whether the process of this number that started then is still running; a process number may belong to a later one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        pass
    now = start_of(pid)
    return 0 in (now, started) or now == started


@contextlib.contextmanager
def replacing(path: str | Path, *, error: type[MMDetError] = DataError, keep_suffix: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends without an exception, it replaces ``path``.

    Args:
        path: the final name; its folder is made where it is missing.
        error: type of the error that is raised when the file system refuses.
        keep_suffix: see :func:`temporary_path`.

    Raises:
        MMDetError: of the type ``error``: full disk, no permission and the like. The message names the file, the cause and the free space. An older
            file of that name is left as it was, and the temporary file is removed.
    """
    path = Path(path)
    _refuse_no_name(path, error)
    temporary = temporary_path(path, keep_suffix=keep_suffix)
    with _removed_in_the_end(temporary), explained(path, error):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _swept:
            _swept.add(path.parent)
            remove_stale_temporaries(path.parent)
        yield temporary
        if keep_suffix:  # the library that wrote it does not flush it to the disk
            _sync(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def _removed_in_the_end(path: Path) -> Iterator[None]:
    """Delete a temporary file or folder when the block is left, or when a process whose main thread hangs in it is ended."""
    remove = functools.partial(_remove, path)
    LAST_ACTS.append(remove)
    try:
        yield
    finally:
        remove()
        LAST_ACTS.remove(remove)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # gone once it is in place; nothing more to do where it cannot be removed
            path.unlink()


def _refuse_no_name(path: Path, error: type[MMDetError]) -> None:
    """Raise an error for a path that no file can have: '', '/', one with a zero byte or with what is no text."""
    try:
        possible = bool(path.name) and b'\0' not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise error('cannot be the name of a file', file=repr(str(path)))


@contextlib.contextmanager
def temporary_folder(beside: str | Path, *, error: type[MMDetError] = DataError) -> Iterator[Path]:
    """A folder named like the temporary files of ``beside``, for outputs that take several files; deleted at the end of the block."""
    folder = temporary_path(beside)
    with _removed_in_the_end(folder):
        with explained(beside, error):
            folder.mkdir(parents=True)
            remove_stale_temporaries(folder.parent)
        yield folder


@contextlib.contextmanager
def explained(path: str | Path, error: type[MMDetError] = DataError) -> Iterator[None]:
    """Turn an ``OSError`` into the error of the package that names the file, the cause and the free space."""
    path = Path(path)
    try:
        yield
    except OSError as failure:
        reason = (str(failure.strerror or failure).splitlines() or [''])[0]
        message = f'could not be written ({reason}); an older file is left as it was; {_free_space(path.parent)}'
        raise error(message, file=path) from failure


def make_folder(path: str | Path, *, error: type[MMDetError] = DataError) -> Path:
    """Make a folder and those above it, unless they exist; raises an error of the type ``error`` where that is refused."""
    with explained(path, error):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; where folders cannot be opened, the replacement is atomic all the same."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Remembering:
    """An open file that remembers the failure of a write: torch, for one, reports a full disk as an error of its own."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.failure: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self.file.write(data)
        except OSError as failure:
            self.failure = self.failure or failure
            raise

    def fileno(self) -> int:
        """None: with a number, Pillow would write past this object, and report failures without their cause."""
        raise io.UnsupportedOperation('fileno')

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _free_space(folder: Path) -> str:
    try:
        return f'{shutil.disk_usage(folder).free / 2**20:.0f} MiB free in {folder}'
    except OSError as failure:
        return f'free space of {folder} unknown ({failure.strerror})'


def write_atomically(
    path: str | Path, write: Callable[[BinaryIO], object], *, error: type[MMDetError] = DataError
) -> None:
    """Write a file by :func:`replacing`, with its arguments and errors; ``write`` is called with the open binary file.

    Where writing to the disk fails, that is the error, whatever ``write`` makes of it.
    """
    with replacing(path, error=error) as temporary, temporary.open('xb') as file:
        guarded = _Remembering(file)
        try:
            write(cast(BinaryIO, guarded))
        finally:
            if guarded.failure is not None:
                raise guarded.failure
        file.flush()
        os.fsync(file.fileno())


def write_bytes(path: str | Path, content: bytes | memoryview, *, error: type[MMDetError] = DataError) -> None:
    """Write bytes by :func:`write_atomically`."""
    write_atomically(path, lambda file: file.write(content), error=error)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON by :func:`write_atomically`; NumPy numbers become plain ones.

    Raises:
        DataError: NaN, infinity, or an object that JSON does not know; see :func:`write_atomically`.
    """

    def plain(value: object) -> object:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f'{type(value).__name__} is not JSON')

    try:
        text = json.dumps(content, default=plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f'cannot be written as JSON ({error})', file=path) from error
    write_text(path, text)


def write_pickle(path: str | Path, content: Any) -> None:
    """Write a pickle by :func:`write_atomically`."""
    write_atomically(path, lambda file: pickle.dump(content, file))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text by :func:`write_atomically`; DataError where it holds a lone surrogate, which UTF-8 has not."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f'cannot be written as text ({error})', file=path) from error
    write_bytes(path, data)


class LineFile:
    """A text file to which lines are appended, each whole or not at all; made where it is missing. A context manager.

    A last line that a killed process left unfinished is ended before the first new one.

    Args:
        path: the file.
        error: type of the errors.

    Raises:
        MMDetError: of the type ``error``, here and in :meth:`append`: the file system refuses; earlier lines are left as they were.
    """

    def __init__(self, path: str | Path, *, error: type[MMDetError] = DataError):
        self.path, self._error, self._appended = Path(path), error, False
        _refuse_no_name(self.path, error)
        with explained(self.path, error):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, 'a+b', buffering=0)  # noqa: SIM115 (close() closes it)

    def append(self, text: str) -> None:
        """Append lines; a line feed is added where ``text`` does not end in one."""
        data = text.encode() + b'\n' * (not text.endswith('\n'))
        self._appended = True
        with explained(self.path, self._error):
            size = self._file.seek(0, os.SEEK_END)
            if size:
                self._file.seek(-1, os.SEEK_END)
                data = (b'' if self._file.read(1) == b'\n' else b'\n') + data
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                with contextlib.suppress(OSError):  # readers ignore an unfinished line
                    self._file.truncate(size)
                raise

    def read(self, start: int = 0) -> bytes | None:
        """The content from byte ``start`` on; None if the file is shorter."""
        with explained(self.path, self._error):
            if self._file.seek(0, os.SEEK_END) < start:
                return None
            self._file.seek(start)
            return self._file.read()

    def clear(self) -> None:
        """Delete all lines."""
        with explained(self.path, self._error):
            self._file.truncate(0)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out that lock the file, too; without effect where the system knows no such locks."""
        try:
            import fcntl  # Windows has none

            fcntl.flock(self._file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Flush the lines to the disk and close the file."""
        with explained(self.path, self._error), self._file:
            if self._appended:
                os.fsync(self._file.fileno())

    def __enter__(self) -> 'LineFile':
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def append_line(path: str | Path, line: str) -> None:
    """Append one line by a :class:`LineFile`."""
    with LineFile(path) as file:
        file.append(line)


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
