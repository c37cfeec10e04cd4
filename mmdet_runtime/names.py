"""Which names outputs may have: never that of an input, never that of the result for another input.

A file that the caller names is written under this name, and replaces an older one, unless it is an input of the call (:func:`refuse_inputs`).
A file that gets its name from an input gets a number where the name belongs to something else (:class:`OutputNames`).
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .errors import ConfigError
from .files import LineFile, make_folder

PathLike = str | os.PathLike


def refuse_inputs(
    outputs: Iterable[PathLike | None], inputs: Iterable[PathLike | None], *, field: str | None = None
) -> None:
    """Raise an error if an output is an input, or two outputs are one file. To be called before anything is written.

    Links and other spellings of a path count as the same file. Folders may be given, too.

    Args:
        outputs: paths to be written; None is passed over.
        inputs: paths that are read; None and what is no path here (addresses, known names) are passed over.
        field: the option that names the outputs, for the message.

    Raises:
        ConfigError: names the output.
    """
    known = {identity: path for path in inputs if path is not None and (identity := _identity(path))}
    seen: set[str] = set()
    for output in outputs:
        if output is None:
            continue
        identity = _identity(output)
        if identity in known:
            message = f'is an input of this call ({os.fspath(known[identity])}) and must not be written to; choose another folder or name'
            raise ConfigError(message, file=output, field=field)
        place = os.path.normcase(os.path.realpath(output))
        if place in seen:
            raise ConfigError('two outputs of this call would be this file', file=output, field=field)
        seen.add(place)


def refuse_closed_folder(output: PathLike, *, field: str | None = None) -> None:
    """Raise a ConfigError if the folder of an output cannot be written to, before the work that makes it; nothing is written.

    A folder that is missing will be made in the nearest one above it that is there.
    """
    folder = next(parent for parent in Path(os.path.abspath(output)).parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        message = f'cannot be written: {folder} is no folder that may be written to; choose another one'
        raise ConfigError(message, file=output, field=field)


def _identity(path: PathLike) -> tuple[int, ...]:
    """What all names of an existing file have in common; () where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return ()
    return status.st_dev, status.st_ino


def numbered(base: str, is_taken: Callable[[str], bool], first: int = 1) -> tuple[str, int]:
    """The first of ``base``, ``base_2``, ``base_3``, ... that is not taken, and its number; the search starts at number ``first``."""
    number = first
    while is_taken(name := base if number == 1 else f'{base}_{number}'):
        number += 1
    return name, number


class OutputNames:
    """Gives outputs the names of their sources: ``a/x.jpg`` and ``b/x.png`` become ``x`` and ``x_2``.

    The rule: a name belongs to one source. A source whose name belongs to another one, or to a file that is not recorded, gets a number.
    Names and sources are recorded, one object ``{"name", "source"}`` a line, before anything else is written. So a source replaces its own result of
    an earlier call or process, and no other. Processes may share a folder. The record of a folder that was deleted counts no more.

    Args:
        folder: folder of the outputs; None where nothing is written: then nothing is recorded either.
        record: the file of the record; default ``<folder>_sources.jsonl``, or ``<folder>/.sources.jsonl`` where the place beside the folder is
            closed, or on another file system.
        exact: names that differ in case only are different names; by default they count as equal.
    """

    def __init__(self, folder: PathLike | None = None, record: PathLike | None = None, *, exact: bool = False):
        self.folder = None if folder is None else Path(os.path.realpath(folder))
        self.record = Path(record) if record is not None else self.folder and _record_of(self.folder)
        self._key: Callable[[str], str] = str if exact else str.lower
        self._seen = 0  # bytes of the record that were read
        self._recorded: set[str] = set()  # keys of names
        self._names: dict[str, list[str]] = {}  # by source
        self.start_call()

    def start_call(self) -> None:
        """Let all sources have their names again."""
        self._given: set[str] = set()  # in this call, keys of names
        self._last: dict[str, int] = {}  # number last given, by the name without number

    def claim(self, wanted: Sequence[tuple[str | None, str, Sequence[str]]]) -> list[str]:
        """A name for each source, different from all others of the call.

        Args:
            wanted: for each its source, the name that it should have, and its files relative to the folder, with ``{}`` for the name:
                ``('/data/a/x.jpg', 'x', ['vis/{}.jpg', 'preds/{}.json'])``. Without a source (None) the name is always a new one.

        Raises:
            DataError: the record cannot be read or written, or the folder cannot be made.
        """
        if self.record is None or all(source is None for source, *_ in wanted):
            return [self._name(*item) for item in wanted]
        with LineFile(self.record) as file, file.locked():
            if self.folder is not None and not self.folder.exists():
                file.clear()
                make_folder(self.folder)
            self._read(file)
            names = [self._name(*item) for item in wanted]
            new = [
                (name, item[0])
                for name, item in zip(names, wanted)
                if item[0] and self._key(name) not in self._recorded
            ]
            if new:
                file.append(''.join(json.dumps(dict(name=name, source=source)) + '\n' for name, source in new))
                self._read(file)
        return names

    def _name(self, source: str | None, base: str, files: Sequence[str]) -> str:
        def is_taken(name: str) -> bool:
            key = self._key(name)
            return (key in self._given or key in self._recorded) or (
                self.folder is not None and any(os.path.lexists(self.folder / file.format(name)) for file in files)
            )

        own = [name for name in self._names.get(source or '', ()) if self._key(name) not in self._given]
        # One source may have several names: a picture that is drawn twice, links to one image.
        own = [name for name in own if re.fullmatch(rf'{re.escape(base)}(_\d+)?', name)]
        if own:
            name = min(own, key=len)
        else:
            name, self._last[base] = numbered(base, is_taken, self._last.get(base, 0) + 1)
        self._given.add(self._key(name))
        return name

    def _read(self, file: LineFile) -> None:
        """Take over what was added to the record; one that became shorter is a new one."""
        data = file.read(self._seen)
        if data is None:
            self._seen, self._recorded, self._names = 0, set(), {}
            data = file.read() or b''
        self._seen += len(data)
        for line in data.splitlines():
            try:
                entry = json.loads(line)
                name, source = str(entry['name']), str(entry['source'])
            except (ValueError, KeyError, TypeError, RecursionError):  # unfinished by a killed process, or damaged
                continue
            self._recorded.add(self._key(name))
            self._names.setdefault(source, []).append(name)


def _record_of(folder: Path) -> Path:
    inside = folder / '.sources.jsonl'
    if inside.exists() or (folder.is_dir() and (folder.is_mount() or not os.access(folder.parent, os.W_OK))):
        return inside
    return Path(f'{folder}_sources.jsonl')


def source_of(path: PathLike) -> str:
    """How :class:`OutputNames` records a source: an address as it is, a file by its real path."""
    text = os.fspath(path)
    return text if '://' in text else os.path.realpath(text)
