"""Curves of training logs, as SVG or drawn by matplotlib, and the time of an iteration."""

import importlib.util
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, DataError
from ..utils.files import write_bytes, write_text
from ..visualization.charts import Series, line_chart
from .logs import Record, TrainingLog

# A chart names style classes only; a file of its own needs the style sheet, too.
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
        data_mean: the part of it that waits for data; None where it was not logged.
        epochs: epoch -> mean.
    """

    name: str
    mean: float
    data_mean: float | None
    epochs: dict[int, float]

    def text(self) -> str:
        """Several lines for people."""
        seconds_of = self.epochs.__getitem__
        slowest, fastest = max(self.epochs, key=seconds_of), min(self.epochs, key=seconds_of)
        spread = statistics.pstdev(self.epochs.values())
        lines = [
            f'----- training time of {self.name} -----',
            f'slowest epoch {slowest}: {self.epochs[slowest]:.4f} s/iter',
            f'fastest epoch {fastest}: {self.epochs[fastest]:.4f} s/iter',
            f'standard deviation over {len(self.epochs)} epochs: {spread:.4f} s/iter',
            f'mean: {self.mean:.4f} s/iter',
        ]
        if self.data_mean is not None:
            lines.append(f'of which waiting for data: {self.data_mean:.4f} s/iter')
        return '\n'.join(lines)


def train_time(log: TrainingLog, include_outliers: bool = False) -> TrainTime:
    """Time of an iteration by epoch.

    Args:
        log: log of a run.
        include_outliers: keep the first record of each epoch, which includes the start of the workers. An epoch of a
            single record keeps it in any case.

    Raises:
        DataError: no training record holds ``time``.
    """
    records = [record for record in log.train if math.isfinite(record.values.get('time', math.nan))]
    if not records:
        raise DataError('no training record holds a time', file=log.path, field='time', received=log.keys['train'])
    by_epoch: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        by_epoch[int(record.epoch or 1)].append(record)
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

    The axis counts iterations where only training values are drawn, else epochs (iterations in iteration-based runs).

    Args:
        logs: logs of the runs.
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
        raise ConfigError(
            f'must name {len(logs) * len(keys)} curves, for {len(keys)} keys of {len(logs)} logs', field='--legend',
            received=legend,
        )  # fmt: skip
    found = [(log, key, *log.series(key)) for log in logs for key in keys]
    in_epochs = any(kind == 'val' and records[0].epoch is not None for _, _, kind, records in found)
    curves: list[Series] = []
    for log, key, _, records in found:
        name, length = log.resolve(key), log.iterations_per_epoch
        xs: list[float] = []
        ys: list[float] = []
        for record in records:
            if name not in record.values or (record.epoch is not None and record.epoch < start_epoch):
                continue
            if not in_epochs:
                x = record.iteration
            elif record.iteration is not None and length:
                x = record.iteration / length
            else:
                x = record.epoch if record.epoch is not None else record.iteration
            xs.append(float(x if x is not None else len(xs) + 1))
            ys.append(record.values[name])
        if not xs:
            raise DataError(
                f'has no value of {key!r} from epoch {start_epoch} on', file=log.path, field='--start-epoch'
            )
        curves.append((f'{log.name} {name}' if len(logs) > 1 else name, xs, ys))
    if legend is not None:
        curves = [(title, xs, ys) for title, (_, xs, ys) in zip(legend, curves)]
    return ('epoch' if in_epochs else 'iteration'), curves


def write_curves(
    out: str | Path, curves: Sequence[Series], *, x_label: str, title: str = '', style: str = 'dark'
) -> Path:
    """Draw curves into a file: ``.svg`` by this package, ``.png``, ``.pdf`` and ``.jpg`` by matplotlib.

    Args:
        out: file.
        curves: one ``(name, xs, ys)`` per curve.
        x_label: label of the x axis.
        title: title of the picture.
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
    data = _draw_with_matplotlib(curves, x_label, title, style, out.suffix[1:])
    write_bytes(out, data)
    return out


def _draw_with_matplotlib(curves: Sequence[Series], x_label: str, title: str, style: str, kind: str) -> bytes:
    import matplotlib.style  # takes about a second, and only these pictures need it
    from matplotlib.figure import Figure

    sheet = next((n for n in (f'seaborn-v0_8-{style}', style) if n in matplotlib.style.available), None)
    if sheet is None:
        raise ConfigError('must be a style of matplotlib', field='--style', received=style)
    data = io.BytesIO()
    with matplotlib.style.context(sheet):
        figure = Figure(figsize=(9, 5), dpi=110)
        axes = figure.add_subplot()
        for name, xs, ys in curves:
            axes.plot(xs, ys, label=name, marker='o' if len(xs) <= 40 else None, lw=1.2, ms=3)
        axes.set(xlabel=x_label, title=title)
        axes.legend()
        figure.tight_layout()
        figure.savefig(data, format=kind)
    return data.getvalue()
