"""The image files of a data set, found by the names that annotation tools write for them."""

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import DataError
from ..utils.reading import is_inner_path
from .images import IMAGE_SUFFIXES

# Label Studio puts eight hexadecimal digits and a hyphen before the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r'^[0-9a-f]{8}-')


class ImageFolder:
    """The images below a folder, found by name.

    A name is looked for in this order: as it is; without its percent signs (``a%20b.jpg``), backslashes, address, drive and leading ``../``
    (of ``/data/local-files/?d=a/b.jpg``, what follows ``d=``); by shorter and shorter ends of its path; by the file name alone anywhere
    below the folder; all of this without the prefix of an upload to Label Studio (``0a1b2c3d-``).

    Args:
        root: the folder.

    Raises:
        DataError: no such folder.
    """

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError('no such image folder', file=self.root)

    def find(self, name: str) -> str | None:
        """Path of an image relative to the folder, with slashes; None where there is no such file, or several that fit equally well.

        Args:
            name: as in the annotations.
        """
        if (found := self.find_exactly(name)) is not None:
            return found
        for plain in (plain_name(name), without_upload_prefix(plain_name(name))):
            parts = PurePosixPath(plain).parts
            same = self._by_name.get(parts[-1], []) if parts else []
            if same:
                shared = [_shared_end(parts, path.split('/')) for path in same]
                best = [path for path, count in zip(same, shared) if count == max(shared)]
                return best[0] if len(best) == 1 else None
        return None

    def find_exactly(self, name: str) -> str | None:
        """As :meth:`find`, without the search below the folder, which takes long in a large one."""
        if is_inner_path(name) and self._is_file(name):
            return name
        for plain in (plain_name(name), without_upload_prefix(plain_name(name))):
            parts = PurePosixPath(plain).parts
            for start in range(len(parts)):
                if self._is_file(end := '/'.join(parts[start:])):
                    return end
        return None

    def _is_file(self, name: str) -> bool:
        try:
            return os.path.isfile(self.root / name)
        except ValueError:  # NUL in the name
            return False

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in images_below(self.root):
            found.setdefault(path.name, []).append(path.relative_to(self.root).as_posix())
        return found


def images_below(root: str | os.PathLike) -> list[Path]:
    """The image files of a folder and all folders below it, sorted by path."""
    paths = [Path(folder, name) for folder, _, names in os.walk(os.fspath(root), followlinks=True) for name in names]
    return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES)


def plain_name(name: str) -> str:
    """The path in a name of an image, without address, drive, percent signs and the parts that lead out of a folder.

    >>> plain_name('../train/images/a%20b.jpg'), plain_name('/data/local-files/?d=x/c.jpg'), plain_name('C:\\\\photos\\\\d.png')
    ('train/images/a b.jpg', 'x/c.jpg', 'photos/d.png')
    """
    if '://' in name or '?d=' in name:
        address = urlsplit(name)
        name = parse_qs(address.query).get('d', [address.path])[0]
    name = re.sub(r'^[A-Za-z]:', '', unquote(name).replace('\\', '/'))
    return '/'.join(part for part in name.split('/') if part not in ('', '.', '..'))


def without_upload_prefix(name: str) -> str:
    """``x/0a1b2c3d-a.jpg`` -> ``x/a.jpg``."""
    folder, slash, last = name.rpartition('/')
    return folder + slash + _UPLOAD_PREFIX.sub('', last)


def _shared_end(parts: Sequence[str], others: Sequence[str]) -> int:
    count = 0
    while count < min(len(parts), len(others)) and parts[-1 - count] == others[-1 - count]:
        count += 1
    return count
