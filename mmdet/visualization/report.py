"""One self-contained HTML page about a run: curves, AP, speed, and predictions beside ground truth. No script, no network."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..formats.images import IMAGE_SUFFIXES, decode_image
from ..formats.json_file import read_json
from ..formats.json_lines import read_json_lines
from ..utils.checks import is_number
from ..utils.outputs import refuse_inputs
from .charts import Series, line_chart
from .report_page import PICTURE_BYTES, cell_text, check_page_name, figure, section, table, write_page

_LARGEST = 1e300
_NOT_METRICS = {'step', 'data_time', 'time', 'epoch', 'iter', 'memory'}
_OVERALL = {'bbox_mAP': 'AP', 'bbox_mAP_50': 'AP50', 'bbox_mAP_75': 'AP75'}
_BY_SIZE = {'bbox_mAP_s': 'AP small', 'bbox_mAP_m': 'AP medium', 'bbox_mAP_l': 'AP large'}

Curves = dict[str, tuple[list[float], list[float]]]  # name -> steps, values
Image = str | Path | np.ndarray  # a file or an RGB array
Picture = Image | tuple[Image, str]  # with its caption


def read_scalars(work_dir: str | Path) -> dict[str, Curves]:
    """Scalars logged by the runs of a work folder. Resumed runs are joined: a later run replaces earlier values from its first step on.

    Args:
        work_dir: folder with ``<timestamp>/vis_data/scalars.json``, or that ``vis_data`` folder or file itself.

    Returns:
        ``{'train': {name: (steps, values)}, 'val': {...}}``. Training steps are iterations; validation steps are epochs, or iterations in an
        iteration-based run. Both are empty where nothing was logged.

    Raises:
        DataError: a log cannot be read; see :func:`~mmdet.formats.json_lines.read_json_lines`.
    """
    curves: dict[str, Curves] = {'train': {}, 'val': {}}
    for file in _scalar_files(Path(work_dir)):
        run: dict[str, dict[str, dict[float, float]]] = {'train': {}, 'val': {}}
        for record in read_json_lines(file):
            kind = 'train' if any('loss' in key for key in record) else 'val'
            for key, value in record.items():
                if key not in _NOT_METRICS and isinstance(value, (int, float)) and math.isfinite(value):
                    run[kind].setdefault(key, {})[record.get('step', 0)] = value
        for kind, found in run.items():
            for key, points in found.items():
                steps, values = curves[kind].get(key, ([], []))
                kept = [(s, v) for s, v in zip(steps, values) if s < min(points)]
                joined = kept + sorted(points.items())
                curves[kind][key] = ([s for s, _ in joined], [v for _, v in joined])
    return curves


def _scalar_files(work_dir: Path) -> list[Path]:
    files = [work_dir] if work_dir.is_file() else sorted(work_dir.glob('*/vis_data/scalars.json'))
    return files or [*work_dir.glob('scalars.json')] or [*work_dir.glob('vis_data/scalars.json')]


def write_report(
    work_dir: str | Path | None,
    out_html: str | Path,
    *,
    title: str = 'Detection report',
    curves: dict[str, Curves] | None = None,
    metrics: Mapping[str, float] | None = None,
    benchmark: Mapping[str, object] | None = None,
    comparisons: Sequence[Picture] = (),
    pictures: Sequence[Picture] = (),
    facts: Mapping[str, object] | None = None,
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[object]]]] | None = None,
) -> Path:
    """Write the page.

    Args:
        work_dir: folder of the run, read by :func:`read_scalars` unless ``curves`` is given; None for no curves.
        out_html: file to write.
        title: heading.
        curves: what ``read_scalars`` returns.
        metrics: results by name, as the evaluator returns them (``coco/bbox_mAP``, ``coco/car_precision``, ...); None takes the last
            value of each validation curve.
        benchmark: speed figures, name to value (units in the names).
        comparisons: predictions beside ground truth, shown in full width: image file, (H, W, 3) RGB array, or ``(either, caption)``.
        pictures: further pictures, two in a row.
        facts: more about the run, name to value (config, checkpoint, device, ...).
        tables: heading to ``(column names, rows)``, shown first: the first column names the row, the others are numbers.

    Returns:
        The path of the page, below 5 MB however many pictures it holds (they are scaled down to fit).

    Raises:
        DataError: a picture or a log file cannot be read.
        ConfigError: the page would replace one of the pictures or logs, or has no name of a page.
    """
    given = (item[0] if isinstance(item, tuple) else item for item in (*comparisons, *pictures))
    logs = _scalar_files(Path(work_dir)) if work_dir is not None else []
    refuse_inputs([out_html], [*logs, *(item for item in given if isinstance(item, str | Path))], field='out_html')
    check_page_name(out_html)
    if curves is None:
        curves = read_scalars(work_dir) if work_dir is not None else {'train': {}, 'val': {}}
    if metrics is None:
        metrics = {name: values[-1] for name, (_, values) in curves['val'].items()}
    pairs, singles = [_picture(item) for item in comparisons], [_picture(item) for item in pictures]
    # A comparison holds two pictures side by side.
    share = PICTURE_BYTES / max(2 * len(pairs) + len(singles), 1)

    body = [
        _headline(metrics),
        *(section(heading, [table(*content)], 'wide') for heading, content in (tables or {}).items()),
        section('Predictions beside ground truth', [figure(item, share * 2, 2600) for item in pairs], 'wide'),
        section('Curves', _charts(curves), 'two'),
        section('Accuracy', [_metric_table(metrics), _class_table(metrics)], 'two'),
        section('Speed', [table(('', 'value'), list(benchmark.items()))] if benchmark else [], 'half'),
        section('Pictures', [figure(item, share, 1100) for item in singles], 'two'),
    ]
    return write_page(out_html, title, facts or {}, body)


def read_figures(path: str | Path | None) -> dict | None:
    """The JSON object in a file of figures; None for None.

    Raises:
        DataError: the file cannot be read, holds something else, or a number that is too large for a float.
    """
    if path is None:
        return None
    figures = read_json(str(path))
    for name, value in figures.items():
        if is_number(value) and _LARGEST <= abs(value) < math.inf:
            raise DataError('must be a number below 1e300', file=path, field=name, received=str(value)[:80])
    return figures


def pictures_in(folder: str | Path | None, limit: int) -> list[Path]:
    """The first ``limit`` pictures of a folder, by name; none for None.

    Raises:
        DataError: there is no such folder.
    """
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise DataError('no such folder of pictures', file=folder)
    return sorted(p for p in Path(folder).glob('*') if p.suffix.lower() in IMAGE_SUFFIXES)[:limit]


def _short(name: str) -> str:
    """'coco/bbox_mAP' -> 'bbox_mAP'."""
    return name.rpartition('/')[2]


def _headline(metrics: Mapping[str, float]) -> str:
    values = {_short(name): value for name, value in metrics.items()}
    tiles = [
        f'<div class="tile"><span>{label}</span><b>{_percent(values[name])}</b></div>'
        for name, label in {**_OVERALL, **_BY_SIZE}.items()
        if isinstance(values.get(name), (int, float))
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ''


def _charts(curves: dict[str, Curves]) -> list[str]:
    train, val = curves['train'], curves['val']
    losses = [(name, *train[name]) for name in sorted(train, key=lambda n: (n != 'loss', n)) if 'loss' in name]
    scores = [(_short(name), *val[name]) for name in val if '_precision' not in name and not name.endswith('copypaste')]
    overall = [(_OVERALL[name], steps, values) for name, steps, values in scores if name in _OVERALL]
    sizes = [(_BY_SIZE[name], steps, values) for name, steps, values in scores if name in _BY_SIZE and max(values) >= 0]
    charts: list[tuple[str, str, Sequence[Series]]] = [
        ('Training loss', 'iteration', losses[:7]),
        ('Validation', 'epoch or iteration', overall or scores[:6]),
        ('Validation by object size', 'epoch or iteration', sizes),
        ('Learning rate', 'iteration', [('lr', *train['lr'])] if 'lr' in train else []),
    ]
    return [line_chart(found, title=title, x_label=x, y_from_zero=True) for title, x, found in charts if found]


def _metric_table(metrics: Mapping[str, float]) -> str:
    rows = [
        (_short(name), _percent(value))
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not name.endswith('_precision')
    ]
    return table(('metric', '%'), rows) if rows else ''


def _class_table(metrics: Mapping[str, float]) -> str:
    """AP per class with a bar, best first."""
    classes = [
        (_short(name).removesuffix('_precision'), value)
        for name, value in metrics.items()
        if name.endswith('_precision') and isinstance(value, (int, float))
    ]
    rows = ''.join(
        f'<tr><td>{cell_text(name)}</td><td class="number">{_percent(value)}</td>'
        f'<td class="bar"><i style="width:{100 * min(max(value, 0.0), 1.0):.1f}%"></i></td></tr>'
        for name, value in sorted(classes, key=lambda row: -row[1])
    )
    head = '<tr><th>class</th><th class="number">AP %</th><th></th></tr>'
    return f'<table><thead>{head}</thead><tbody>{rows}</tbody></table>' if rows else ''


def _picture(item: Picture) -> tuple[np.ndarray, str]:
    """A picture of the page, (H, W, 3) uint8 RGB, and the text below it."""
    image, caption = item if isinstance(item, tuple) else (item, None)
    if isinstance(image, np.ndarray):
        return image, caption or ''
    return decode_image(image, value_range='minmax')[..., ::-1], Path(image).name if caption is None else caption


def _percent(value: float) -> str:
    """AP in percent; a dash for -1 (no such objects) and values that are not finite; a value above 1 is no share and stays as it is."""
    if not math.isfinite(value) or value < 0:
        return '–'
    return f'{100 * value:.1f}' if value <= 1 else f'{value:.4g} (not %)'
