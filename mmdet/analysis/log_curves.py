"""Curves of training logs, as SVG or drawn by matplotlib, and the time of an iteration."""

import importlib.util
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, DataError
from ..utils.files import write_atomically, write_text
from ..visualization.charts import Series, line_chart
from .logs import Record, TrainingLog

# A chart only names style classes; a separate file also needs the style sheet.
_SVG_STYLE = (
    '<style>text{fill:#1d2126;font:12px system-ui,sans-serif}.chart-title{font-weight:600;font-size:14px}'
    '.tick{fill:#5d6670}.grid{stroke:#dfe3e8}.axis{stroke:#5d6670}</style><rect width="100%" height="100%" fill="#fff"/>'
)
_MATPLOTLIB_SUFFIXES = ('.png', '.pdf', '.jpg', '.jpeg')


@dataclass
class TrainTime:
    """Seconds of an iteration.

    Attributes:
        name: name of the run.
        mean: mean of all records.
        data_mean: the part of ``mean`` spent waiting for data; None where it was not logged.
        epochs: epoch -> mean.
    """

    name: str
    mean: float
    data_mean: float | None
    epochs: dict[int, float]

    def text(self) -> str:
        """Several lines of text: the slowest and the fastest epoch, the spread, and the means."""
        seconds_of = self.epochs.__getitem__
        slowest, fastest = max(self.epochs, key=seconds_of), min(self.epochs, key=seconds_of)
        lines = [
            f'----- training time of {self.name} -----',
            f'slowest epoch {slowest}: {self.epochs[slowest]:.4f} s/iter',
            f'fastest epoch {fastest}: {self.epochs[fastest]:.4f} s/iter',
            f'standard deviation over {len(self.epochs)} epochs: {statistics.pstdev(self.epochs.values()):.4f} s/iter',
            f'mean: {self.mean:.4f} s/iter',
        ]
        if self.data_mean is not None:
            lines.append(f'of which waiting for data: {self.data_mean:.4f} s/iter')
        return '\n'.join(lines)


def train_time(log: TrainingLog, include_outliers: bool = False) -> TrainTime:
    """Time of an iteration by epoch.

    ``include_outliers`` keeps the first record of each epoch, which includes the start of the workers. A single record of an
    epoch is always kept.

    Raises:
        DataError: no training record holds ``time``.
    """
    by_epoch: dict[int, list[Record]] = defaultdict(list)
    for record in log.train:
        if math.isfinite(record.values.get('time', math.nan)):
            by_epoch[int(record.epoch or 1)].append(record)
    if not by_epoch:
        raise DataError('no training record holds a time', file=log.path, field='time', received=log.keys['train'])
    kept = {epoch: rows[0 if include_outliers or len(rows) == 1 else 1 :] for epoch, rows in by_epoch.items()}
    rows = [record for part in kept.values() for record in part]
    data = [record.values['data_time'] for record in rows if 'data_time' in record.values]
    return TrainTime(
        log.name,
        statistics.fmean(record.values['time'] for record in rows),
        statistics.fmean(data) if data else None,
        {epoch: statistics.fmean(r.values['time'] for r in part) for epoch, part in sorted(kept.items())},
    )


def collect_curves(
    logs: list[TrainingLog], keys: list[str], legend: list[str] | None = None, start_epoch: int = 1
) -> tuple[str, list[Series]]:
    """Curves of several runs on a common axis.

    The axis counts iterations if only training values are drawn or the runs have no epochs, otherwise epochs.

    Args:
        logs: one log per run.
        keys: names of the values to draw from each.
        legend: names of the curves, those of the first log first; None composes them of run and key.
        start_epoch: leave out earlier epochs.

    Returns:
        The label of the axis, and one ``(name, xs, ys)`` per curve.

    Raises:
        ConfigError: the legend does not have one name per curve.
        DataError: a log lacks a key, or has no value of it from ``start_epoch`` on.
    """
    if legend is not None and len(legend) != len(logs) * len(keys):
        message = f'must name {len(logs) * len(keys)} curves, for {len(keys)} keys of {len(logs)} logs'
        raise ConfigError(message, field='--legend', received=legend)
    found = [(log, key, *log.series(key)) for log in logs for key in keys]
    in_epochs = any(kind == 'val' and records[0].epoch is not None for _, _, kind, records in found)
    curves: list[Series] = []
    for log, key, _, records in found:
        name, length = log.resolve(key), log.iterations_per_epoch
        xs: list[float] = []
        ys: list[float] = []
        for record in records:
            if record.epoch is not None and record.epoch < start_epoch:
                continue
            x = record.iteration
            if in_epochs and x is not None and length:
                x /= length
            elif in_epochs and record.epoch is not None:
                x = record.epoch
            xs.append(float(x if x is not None else len(xs) + 1))
            ys.append(record.values[name])
        if not xs:
            message = f'has no value of {key!r} from epoch {start_epoch} on'
            raise DataError(message, file=log.path, field='--start-epoch')
        title = f'{log.name} {name}' if len(logs) > 1 else name
        curves.append((legend[len(curves)] if legend else title, xs, ys))
    return ('epoch' if in_epochs else 'iteration'), curves


def write_curves(
    out: str | Path, curves: Sequence[Series], *, x_label: str, title: str = '', style: str = 'dark'
) -> Path:
    """Draw curves into a file: ``.svg`` by this package, ``.png``, ``.pdf`` and ``.jpg`` by matplotlib.

    Args:
        out: file; its suffix selects the format.
        curves: one ``(name, xs, ys)`` per curve.
        x_label, title: texts of the picture.
        style: style of matplotlib: 'dark', 'white', 'ticks' ... as seaborn names them, or the name of a style sheet.

    Raises:
        ConfigError: another suffix, an unknown style, or matplotlib is not installed.
    """
    out = Path(out)
    if out.suffix == '.svg':
        chart = line_chart(curves, title=title, x_label=x_label, width=900, height=460)
        end = chart.index('>') + 1
        write_text(out, chart[:end] + _SVG_STYLE + chart[end:])
        return out
    if out.suffix not in _MATPLOTLIB_SUFFIXES:
        raise ConfigError(f'must end in .svg, {", ".join(_MATPLOTLIB_SUFFIXES)}', field='--out', received=str(out))
    if importlib.util.find_spec('matplotlib') is None:
        raise ConfigError('needs matplotlib; write an .svg instead', field='--out', received=str(out))
    import matplotlib.style  # takes about a second, and only these pictures need it
    from matplotlib.figure import Figure

    sheet = next((n for n in (f'seaborn-v0_8-{style}', style) if n in matplotlib.style.available), None)
    if sheet is None:
        raise ConfigError('must be a style of matplotlib', field='--style', received=style)
    with matplotlib.style.context(sheet):
        figure = Figure(figsize=(9, 5), dpi=110)
        axes = figure.add_subplot()
        for name, xs, ys in curves:
            axes.plot(xs, ys, label=name, marker='o' if len(xs) <= 40 else None, lw=1.2, ms=3)
        axes.set(xlabel=x_label, title=title)
        axes.legend()
        figure.tight_layout()
        write_atomically(out, lambda file: figure.savefig(file, format=out.suffix[1:]))
    return out
