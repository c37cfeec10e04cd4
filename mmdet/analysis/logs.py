"""Reading training logs of this toolbox and of mmdetection 2.x and 3.x.

Both formats have one JSON object per line and are told apart by their content:

* ``vis_data/scalars.json`` of mmengine (3.x): training records hold the losses and the total iteration, validation
  records the metrics, with the epoch (or iteration) as ``step``;
* ``<timestamp>.log.json`` of mmcv 1.x (2.x): a first line about the environment, then records with ``mode``, ``epoch``
  and the iteration of the epoch, ``iter``.
"""

from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..formats.json_lines import read_json_lines

_BOOKKEEPING = {'step', 'epoch', 'iter', 'mode'}


@dataclass
class Record:
    """One line of a log.

    Attributes:
        values: name -> number: losses, learning rate, times, or metrics.
        iteration: iteration of the run, from 1; None for a validation record that has only its epoch.
        epoch: epoch from 1; None in an iteration-based run.
    """

    values: dict[str, float]
    iteration: float | None
    epoch: float | None


@dataclass
class TrainingLog:
    """One run.

    Attributes:
        path: the file.
        name: name of the work dir, for legends.
        train, val: training and validation records in order.
    """

    path: Path
    name: str
    train: list[Record]
    val: list[Record]

    @property
    def keys(self) -> dict[str, list[str]]:
        """Sorted names of the logged values: ``{'train': [...], 'val': [...]}``."""
        kinds = {'train': self.train, 'val': self.val}
        return {kind: sorted({key for record in found for key in record.values}) for kind, found in kinds.items()}

    @property
    def iterations_per_epoch(self) -> float | None:
        """Iterations of an epoch, estimated from the records; None in an iteration-based run."""
        # Iteration i of epoch e: (e - 1) * length < i <= e * length.
        return max((row.iteration / row.epoch for row in self.train if row.epoch and row.iteration), default=None)

    def series(self, key: str) -> tuple[str, list[Record]]:
        """The kind ('train' or 'val') and the records that hold ``key``; the training records if both kinds hold it.

        Raises:
            DataError: see :meth:`resolve`.
        """
        name = self.resolve(key)
        kind, records = ('train', self.train) if name in self.keys['train'] else ('val', self.val)
        return kind, [record for record in records if name in record.values]

    def resolve(self, key: str) -> str:
        """The full name under which ``key`` is logged: ``bbox_mAP`` also finds ``coco/bbox_mAP``.

        Raises:
            DataError: no name or several names fit; the message lists the names that were logged.
        """
        names = {name for logged in self.keys.values() for name in logged}
        similar = [key] if key in names else sorted(name for name in names if name.rpartition('/')[2] == key)
        if len(similar) == 1:
            return similar[0]
        present = '; '.join(f'{kind}: {", ".join(logged) or "nothing"}' for kind, logged in self.keys.items())
        problem = f'is ambiguous: {", ".join(similar)}' if similar else 'was not logged'
        raise DataError(f'the metric {problem}. Logged were {present}', file=self.path, field='--keys', received=key)


def find_log(path: str | Path) -> Path:
    """The log file: ``path`` itself, or that of the newest run in a work dir.

    Raises:
        DataError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError('no such log file or work dir', file=path)
    patterns = ('*/vis_data/scalars.json', 'vis_data/scalars.json', 'scalars.json', '*.log.json')
    for pattern in patterns:
        found = [file for file in path.glob(pattern) if file.stat().st_size]
        if found:
            # Names sort by timestamp; copying would change the modification time. A run that trained comes before one that
            # only tested.
            newest_first = sorted(found, reverse=True)
            return next((file for file in newest_first if b'loss' in file.read_bytes()), newest_first[0])
    raise DataError(f'the folder holds no log; looked for {", ".join(patterns)}', file=path)


def read_log(path: str | Path) -> TrainingLog:
    """Read a log file or the newest run of a work dir.

    Raises:
        DataError: there is no log, it cannot be read (see :func:`~mmdet.formats.json_lines.read_json_lines`), or it
            holds no record.
    """
    file = find_log(path)
    rows = read_json_lines(file)
    is_2x = any('mode' in row for row in rows)
    train, val = (_records_2x if is_2x else _records_mmengine)(rows)
    if not train and not val:
        raise DataError('holds no training or validation record', file=file)
    folder = file.resolve().parent
    if folder.name == 'vis_data':
        folder = folder.parents[1]  # <work dir>/<timestamp>/vis_data
    return TrainingLog(file, folder.name, train, val)


def _numbers(row: dict) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in row.items()
        if key not in _BOOKKEEPING and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _records_mmengine(rows: list[dict]) -> tuple[list[Record], list[Record]]:
    train, val = [], []
    by_epoch = any('epoch' in row for row in rows)
    for row in rows:
        if 'iter' in row or any('loss' in key for key in row):
            train.append(Record(_numbers(row), row.get('iter', row.get('step')), row.get('epoch')))
        elif len(row) > 1:
            step = row.get('step')
            val.append(Record(_numbers(row), None if by_epoch else step, step if by_epoch else None))
    return train, val


def _records_2x(rows: list[dict]) -> tuple[list[Record], list[Record]]:
    train, val = [], []
    # Only training records: a validation record's iter is a number of validation batches.
    length = max((row['iter'] for row in rows if row.get('mode') == 'train' and 'iter' in row), default=0)
    for row in rows:
        epoch, inside = row.get('epoch'), row.get('iter')
        if row.get('mode') == 'val':
            val.append(Record(_numbers(row), None, epoch))
        elif row.get('mode') == 'train':
            total = inside if epoch is None or inside is None else (epoch - 1) * length + inside
            train.append(Record(_numbers(row), total, epoch))
    return train, val
