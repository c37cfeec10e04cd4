"""The journal of a long conversion: one line for each finished image, one file for each process."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from mmdet.errors import DataError
from mmdet.utils.files import LineFile, explained, make_folder, write_json

_SETTINGS = 'settings.json'


class MosaicJournal:
    """Records of finished images in a folder.

    A line is written after the image that it describes. The last line of a process that was killed may be incomplete: it is
    ignored, like any line that is no record, and its image is made again.

    Args:
        folder: folder of the files.
        settings: everything that the result depends on. A journal with other settings is not continued.
    """

    def __init__(self, folder: Path, settings: dict):
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))

    def create(self) -> None:
        """Make the folder, or raise a DataError if there is one that was made with other settings."""
        path = self.folder / _SETTINGS
        make_folder(self.folder)
        if not path.is_file():
            write_json(path, self.settings)
            return
        try:
            stored = json.loads(path.read_text(encoding='utf-8'))
        except (ValueError, RecursionError):
            stored = None
        if not isinstance(stored, dict):
            raise DataError('is damaged; start anew (--restart)', file=path)
        changed = sorted(key for key in {*stored, *self.settings} if stored.get(key) != self.settings.get(key))
        if changed:
            message = 'an earlier run with other settings stopped here: repeat them, or start anew (--restart)'
            values = [self.settings.get(key) for key in changed]
            raise DataError(message, file=self.folder, field=', '.join(changed), received=values)

    def read(self) -> dict[str, dict]:
        """The records of all processes by image id, as JSON text."""
        records = {}
        for path in sorted(self.folder.glob('*.jsonl')):
            for line in path.read_bytes().split(b'\n'):
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if isinstance(record, dict) and 'id' in record:
                        records[json.dumps(record['id'])] = record
        return records

    @contextlib.contextmanager
    def writer(self, rank: int) -> Iterator[Callable[[dict], None]]:
        """A function that appends a record to the file of this process."""
        path = self.folder / f'{rank:04d}.jsonl'
        with LineFile(path) as file:
            yield lambda record: file.append(json.dumps(record))

    def remove(self) -> None:
        """Delete the journal's own files, and its folder if nothing else is in it."""
        if not self.folder.is_dir():
            return
        with explained(self.folder):
            for path in [*self.folder.glob('*.jsonl'), self.folder / _SETTINGS]:
                path.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
