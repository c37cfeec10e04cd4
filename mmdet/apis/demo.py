"""The settings of the demo and the page that compares its methods. Each step of the demo runs a command of the toolbox."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..formats.json_file import read_json
from ..utils.files import write_json
from ..visualization.report import Curves, read_scalars, write_report
from .composite_evaluation import EvaluationReport

COLUMNS = {
    'AP (VisDrone rules)': 'visdrone/AP', 'AP50 (VisDrone)': 'visdrone/AP50', 'AP (COCO rules)': 'coco/bbox_mAP',
    'AP50 (COCO)': 'coco/bbox_mAP_50', 'AP small': 'coco/bbox_mAP_s',
}  # fmt: skip


def remember(work_dir: Path, settings: dict) -> None:
    """Store the settings of a demo in its folder, so that a later run with other settings does not reuse its training.

    Raises:
        ConfigError: the folder holds a demo with other settings.
    """
    path = work_dir / 'demo.json'
    if path.is_file() and read_json(str(path)) != settings:
        message = 'the folder holds a demo with other settings; choose another --work-dir'
        raise ConfigError(message, file=path, received=settings)
    write_json(path, settings)


def write_page(work_dir: Path, reports: dict[str, EvaluationReport], seconds: dict[str, float]) -> Path:
    """Write ``report.html``: a table of the methods, pictures of the stages, curves, and the time of every stage.

    Args:
        work_dir: folder of the demo, with ``coarse/``, ``mp_det/`` and ``vis/``.
        reports: the methods by name; the last one is UFPMP-Det.
        seconds: duration of each step of the demo.
    """
    rows: list[Sequence[object]] = [
        [name, *(f'{100 * report.metrics[key]:.1f}' for key in COLUMNS.values()), f'{report.latency["end to end"]["mean_ms"]:.0f}']
        for name, report in reports.items()
    ]  # fmt: skip
    main = list(reports.values())[-1]
    stages = [(name, f'{part["p50_ms"]:.1f}', f'{part["p95_ms"]:.1f}') for name, part in main.latency.items()]
    pictures = [(path, path.stem.replace('_', ' ')) for path in sorted((work_dir / 'vis').glob('*.jpg'))]
    train: Curves = {}
    for name, folder in (('coarse', 'coarse'), ('MP-Det', 'mp_det')):
        curves = read_scalars(work_dir / folder)['train']
        train.update({f'{name}: {key}': curves[key] for key in ('loss', 'loss_cls', 'loss_bbox') if key in curves})
    return write_report(
        None,
        work_dir / 'report.html',
        title='UFPMP-Det on synthetic drone scenes',
        curves={'train': train, 'val': {}},
        metrics={key: value for key, value in main.metrics.items() if key.startswith('coco/')},
        pictures=pictures,
        facts=dict(setting=main.setting, **{f'{step} s': f'{value:.0f}' for step, value in seconds.items()}),
        tables={
            'Coarse detector alone, on tiles, and UFPMP-Det': (('method', *COLUMNS, 'ms an image'), rows),
            'Where the time of UFPMP-Det goes': (('stage', 'p50 ms', 'p95 ms'), stages),
        },
    )
