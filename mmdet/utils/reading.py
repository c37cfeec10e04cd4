"""The package's one way to read a file that a user, a config or another file names: whole, and only if it is a file."""

import os
import stat
from pathlib import Path

from mmengine import fileio

from ..errors import ConfigError, DataError, MMDetError


def read_file(
    path: str | os.PathLike,
    backend_args: dict | None = None,
    *,
    error: type[MMDetError] = DataError,
    missing: str = 'no such file',
) -> bytes:
    """The content of a file.

    Args:
        path: path of a file, or an address (``s3://...``) for ``backend_args``.
        backend_args: arguments of an mmengine file backend; None reads from the local file system only.
        error: type of the errors.
        missing: what the error about a missing file says.

    Raises:
        MMDetError: of the type ``error``: there is no such file, it cannot be read, or it is none (see :func:`check_file`).
        ConfigError: an address without ``backend_args``.
    """
    try:
        if backend_args is not None:
            return bytes(fileio.get(str(path), backend_args=dict(backend_args)))
        check_file(path, error=error, missing=missing)
        return Path(path).read_bytes()
    except FileNotFoundError as failure:
        raise error(missing, file=path) from failure
    except OSError as failure:
        raise error(f'cannot be read ({failure.strerror or failure})', file=path) from failure
    except MemoryError as failure:
        raise error('cannot be read (larger than the memory)', file=path) from failure
    except MMDetError:
        raise
    except Exception as failure:  # a backend's own errors: no client installed, an unknown prefix
        if backend_args is None:
            raise
        raise error(
            f'cannot be read with these backend_args ({failure!r})', file=path, received=backend_args
        ) from failure


def check_file(path: str | os.PathLike, *, error: type[MMDetError] = DataError, missing: str = 'no such file') -> None:
    """Refuse a path that is not a file of the local file system; a pipe would block for ever, and ``/dev/zero`` never ends.

    Raises:
        MMDetError: of the type ``error``: no such file, a folder, pipe, socket or device, or a text that cannot be a path.
        ConfigError: an address on a network, which is read only where a config gives ``backend_args``.
    """
    if '://' in str(path):
        message = "an address is read only where backend_args names its backend, for example backend_args=dict(backend='http')"
        raise ConfigError(message, file=path, field='backend_args', received=None)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as failure:
        raise error(missing, file=path) from failure
    except OSError as failure:
        raise error(f'cannot be read ({failure.strerror or failure})', file=path) from failure
    except ValueError as failure:  # NUL, or a lone surrogate
        raise error(f'cannot be a path ({failure})', file=repr(path)) from failure
    if not stat.S_ISREG(mode):
        kind = 'a folder' if stat.S_ISDIR(mode) else 'a pipe, socket or device'
        raise error(f'must be a file; it is {kind}', file=path)


def is_inner_path(name: str) -> bool:
    """Whether a name stays inside the folder that it is relative to.

    >>> is_inner_path('a/b.jpg'), is_inner_path('../b.jpg'), is_inner_path('/b.jpg'), is_inner_path('')
    (True, False, False, False)
    """
    return (
        bool(name)
        and '\0' not in name
        and '://' not in name
        and not os.path.isabs(name)
        and '..' not in Path(name).parts
    )
