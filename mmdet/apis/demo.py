"""What the demo keeps and shows: its settings, and the page that compares the methods. Its steps are commands of the toolbox."""

import json
from pathlib import Path

from ..errors import ConfigError
from ..utils.files import write_json
from ..visualization.report import read_scalars, write_report

COLUMNS = {
    'AP (VisDrone rules)': 'visdrone/AP', 'AP50 (VisDrone)': 'visdrone/AP50', 'AP (COCO rules)': 'coco/bbox_mAP',
    'AP50 (COCO)': 'coco/bbox_mAP_50', 'AP small': 'coco/bbox_mAP_s',
}  # fmt: skip


def remember(work_dir: Path, settings: dict) -> None:
    """Keep what a demo was started with; a finished training would otherwise pass for one with other settings."""
    path = work_dir / 'demo.json'
    if path.is_file() and json.loads(path.read_text(encoding='utf-8')) != settings:
        raise ConfigError(
            'the folder holds a demo with other settings; choose another --work-dir', file=path, received=settings
        )
    write_json(path, settings)


def write_page(work_dir: Path, figures: dict, seconds: dict[str, float]) -> Path:
    """The report: the methods side by side, the way of some images, curves, and where the time goes."""
    methods = {**figures['baselines'], 'UFPMP-Det': figures}
    rows = [
        [
            name,
            *(f'{100 * part["metrics"][key]:.1f}' for key in COLUMNS.values()),
            f'{part["latency"]["end to end"]["mean_ms"]:.0f}',
        ]
        for name, part in methods.items()
    ]
    stages = [
        (name, *(f'{part[key]:.1f}' for key in ('p50_ms', 'p95_ms'))) for name, part in figures['latency'].items()
    ]
    pictures = [(path, path.stem.replace('_', ' ')) for path in sorted((work_dir / 'vis').glob('*.jpg'))]
    train = {}
    for name, folder in (('coarse', 'coarse'), ('MP-Det', 'mp_det')):
        curves = read_scalars(work_dir / folder)['train']
        train.update({f'{name}: {key}': curves[key] for key in ('loss', 'loss_cls', 'loss_bbox') if key in curves})
    return write_report(
        None,
        work_dir / 'report.html',
        title='UFPMP-Det on synthetic drone scenes',
        curves={'train': train, 'val': {}},
        metrics={key: value for key, value in figures['metrics'].items() if key.startswith('coco/')},
        pictures=pictures,
        facts=dict(setting=figures['setting'], **{f'{step} s': f'{value:.0f}' for step, value in seconds.items()}),
        tables={
            'Coarse detector alone, on tiles, and UFPMP-Det': (('method', *COLUMNS, 'ms an image'), rows),
            'Where the time of UFPMP-Det goes': (('stage', 'p50 ms', 'p95 ms'), stages),
        },
    )
