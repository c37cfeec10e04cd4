"""A folder belongs to one run at a time: its lock file names the process that has it.

The file appears whole under its name (a hard link to a file that is already written, which is atomic on network file systems too) and its owner keeps
it locked by POSIX ``lockf`` while it lives. The kernel drops that lock with the process, hence on one machine a dead owner is known for certain, also
from another container. Where the file system has no such locks, the process number decides together with the time at which the process started. An
owner on another machine cannot be checked: the error says how to free the folder.
"""

import contextlib
import errno
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..config.ending import LAST_ACTS
from ..errors import ConfigError
from .files import host_name, is_alive, remove_stale_temporaries, start_of, temporary_path

LOCK_NAME = '.lock'
_UNSUPPORTED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # no hard links there
_TRIES = 100
_held: Counter[tuple[int, Path]] = Counter()  # how often a process has entered a lock; forked ones have not


@contextlib.contextmanager
def locked(path: str | Path, *, first: bool = True, share: Callable[[list], list] = list) -> Iterator[str | None]:
    """Hold a lock file while the block runs; gives a line for the log where the lock of a dead owner was taken over, else None.

    A process may enter a lock that it holds already. The file is removed at the end of the block; a process that is killed leaves it to the next one.

    Args:
        path: the lock file; its folder is made where it is missing.
        first: whether this process takes the lock. The others of a distributed run enter with False and learn how it went.
        share: called by every process with a list of two values; returns those of the first process.

    Raises:
        ConfigError: another run has it, or the file cannot be written; in all processes of the run.
    """
    path = Path(path).parent.resolve() / Path(path).name
    note = failure = give_back = None
    key = (os.getpid(), path)
    _held[key] += 1
    try:
        if first and _held[key] == 1:
            try:
                descriptor, note = _take(path)
                give_back = partial(_release, path, descriptor)
                LAST_ACTS.append(give_back)
            except ConfigError as error:
                failure = error.args[0]
        note, failure = share([note, failure])
        if failure is not None:
            raise ConfigError(failure)
        yield note
    finally:
        _held[key] -= 1
        if give_back is not None:
            give_back()
            LAST_ACTS.remove(give_back)


def _identity() -> dict[str, Any]:
    pid = os.getpid()
    return dict(pid=pid, host=host_name(), started=start_of(pid), machine=_machine(), since=time.strftime('%Y-%m-%d %H:%M:%S %z'))  # fmt: skip


def _machine() -> str:
    """This start of this machine, and the container in it: within these, process numbers can be compared."""
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()
        return f'{boot} {os.readlink("/proc/self/ns/pid")}'
    except OSError:
        return ''


def _take(path: Path) -> tuple[int, str | None]:
    """Make the lock file; returns its open descriptor, which keeps it locked, and what to log."""
    temporary = temporary_path(path)
    descriptor = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(path.parent)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        _lockf(descriptor)
        os.write(descriptor, json.dumps(_identity()).encode())
        os.fsync(descriptor)
        for _ in range(_TRIES):
            if _link(temporary, path):
                return descriptor, None
            owner = _take_over(temporary, path)
            if owner is not None:
                return descriptor, f'{path}: taken over from {owner}, which has ended without giving it back'
            time.sleep(0.01)
        raise ConfigError('is being taken by other processes again and again', file=path)
    except BaseException as error:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise ConfigError(f'cannot be written ({error.strerror})', file=path) from error
        raise
    finally:
        with contextlib.suppress(OSError):  # not made, or in place of the dead owner's
            temporary.unlink()


def _link(temporary: Path, path: Path) -> bool:
    """Give the finished file its name, unless there is a file of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        try:  # a kill between these two lines leaves an empty file
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True


def _take_over(temporary: Path, path: Path) -> str | None:
    """Put the file in place of a dead owner's; returns who that was, or None where the file has changed meanwhile.

    Raises:
        ConfigError: the owner lives, or cannot be checked.
    """
    try:
        theirs = os.open(path, os.O_RDWR | getattr(os, 'O_NONBLOCK', 0))  # not there on Windows; a pipe would block
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ConfigError('is a link to nothing: if no other run writes here, delete it', file=path) from error
        return None  # just given back
    try:
        if not stat.S_ISREG(os.fstat(theirs).st_mode):
            raise ConfigError('is no file, hence no lock of a run: delete it', file=path)
        free = _lockf(theirs)
        try:
            owner = json.loads(os.read(theirs, 4096))
            if not 0 < int(owner['pid']) < 1 << 31 or any('\n' in str(value) for value in owner.values()):
                raise ValueError('no number of a process, or several lines')
            who = f'process {owner["pid"]} on {owner["host"]} since {owner["since"]}'
            same_machine = owner['machine'] == _machine()
            alive = same_machine and is_alive(int(owner['pid']), int(owner['started']))
            elsewhere = owner['host'] != host_name()
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError, AttributeError):
            raise ConfigError('is damaged: if no other run writes here, delete this file', file=path) from None
        if alive or (free is False and not same_machine):
            raise ConfigError(f'in use by {who}; wait for it, stop it, or write elsewhere', file=path)
        if elsewhere or (free is None and not same_machine):
            raise ConfigError(
                f'in use by {who}; whether that still runs cannot be seen from {host_name()}: if it has ended, delete this file',
                file=path,
            )
        # The owner is dead. One process at a time comes past here; those that come later find another file under the name.
        if free is False or not _names(path, theirs):
            return None
        os.replace(temporary, path)
        return who
    finally:
        os.close(theirs)


def _release(path: Path, descriptor: int) -> None:
    """Remove the lock file, unless it was deleted or taken by another run meanwhile."""
    with contextlib.suppress(OSError):
        if _names(path, descriptor):
            path.unlink()
    os.close(descriptor)


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lockf(descriptor: int) -> bool | None:
    """Lock an open file for this process: True if that worked, False if another process has it, None where there are no such locks."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN) else None
    return True
