"""The demo: UFPMP-Det on synthetic drone scenes, from drawing them to a page that compares the methods. Each step runs a command of the toolbox."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..config import ending
from ..config.reading import load_config
from ..errors import ConfigError
from ..formats.json_file import read_json
from ..utils.files import write_json
from ..utils.shipped import shipped_files
from ..visualization.report import Curves, read_scalars, write_report
from .composite_evaluation import EvaluationReport, read_reports

COLUMNS = {
    'AP (VisDrone rules)': 'visdrone/AP', 'AP50 (VisDrone)': 'visdrone/AP50', 'AP (COCO rules)': 'coco/bbox_mAP',
    'AP50 (COCO)': 'coco/bbox_mAP_50', 'AP small': 'coco/bbox_mAP_s',
}  # fmt: skip
BUILD, EVALUATE = 'UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py', 'UFPMP-Det-Tools/eval_script/ufpmp_det_eval.py'


def run_demo(
    work_dir: str | Path,
    *,
    seed: int = 0,
    cfg_options: Sequence[str] = (),
    verbose: bool = False,
    root: Path | None = None,
) -> Path:
    """Train a coarse detector, pack what it finds into mosaics, train MP-Det on these, and compare the methods; returns the page.

    Args:
        work_dir: where everything but the scenes is written; those go to ``data/drone_scenes`` in the current folder.
        seed: of both trainings.
        cfg_options: words ``key=value``, handed to both trainings.
        verbose: show what is otherwise in the log files only.
        root: folder of the configs and tools; None takes those of the package.

    Raises:
        ConfigError: the folder holds a demo with other settings.
        SystemExit: a step failed; it has said why.
    """
    root = Path(os.path.realpath(shipped_files() / 'configs')).parent if root is None else root
    work_dir = Path(work_dir).resolve()
    coarse_config, mp_config = (_shown(root / f'configs/demo/{name}_det_demo.py') for name in ('coarse', 'mp'))
    scenes = Path.cwd() / load_config(coarse_config).data_root
    mosaics = work_dir / 'mosaics'
    annotations = {split: scenes / f'annotations/{split}.json' for split in ('train', 'val')}
    images = {split: scenes / f'{split}/images' for split in annotations}
    remember(work_dir, dict(seed=seed, cfg_options=[*cfg_options]))
    begin = time.perf_counter()
    seconds = {}

    options = [*cfg_options, *(['verbose=True'] if verbose else [])]
    coarse = _train(root, coarse_config, work_dir / 'coarse', seed, options)
    seconds['scenes and coarse training'] = time.perf_counter() - begin

    seconds['mosaics'] = sum(
        run_tool(
            root / BUILD, coarse_config, coarse, images[split], annotations[split], mosaics / split, mosaics / f'{split}.json', '--no-flip',
            *(['--paint-ignored'] if split == 'train' else []),
        )
        for split in annotations
    )  # fmt: skip

    start = time.perf_counter()
    paths = [
        f'model.backbone.init_cfg.checkpoint={coarse}',
        *(f'{part}_dataloader.dataset.data_root={mosaics}/' for part in ('train', 'val', 'test')),
        *(f'{part}_evaluator.ann_file={mosaics}/val.json' for part in ('val', 'test')),
    ]
    fine = _train(root, mp_config, work_dir / 'mp_det', seed, [*paths, *options])
    seconds['MP-Det training'] = time.perf_counter() - start

    seconds['evaluation'] = run_tool(
        root / EVALUATE, coarse_config, coarse, mp_config, fine, annotations['val'], images['val'], '--no-flip',
        '--baselines', '--tile', '720', '405', '--show-dir', work_dir / 'vis', '--show', '4', '--json', work_dir / 'figures.json',
    )  # fmt: skip
    page = write_page(work_dir, read_reports(work_dir / 'figures.json', 'UFPMP-Det'), seconds)
    print('\n' + ', '.join(f'{step} {value:.0f} s' for step, value in seconds.items()))
    print(f'{time.perf_counter() - begin:.0f} s in all\nReport: {page}')
    return page


def _train(root: Path, config: str, work_dir: Path, seed: int, options: Sequence[str]) -> Path:
    """Train, or go on; returns the last checkpoint."""
    run_tool(
        root / 'tools/train.py', config, '--work-dir', work_dir, '--seed', str(seed), '--resume',
        *(['--cfg-options', *options] if options else []),
    )  # fmt: skip
    return Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())


def _shown(path: Path) -> str:
    """A path as the user would type it: relative where it lies below the current folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def run_tool(script: Path, *arguments: str | Path) -> float:
    """Run a tool of the toolbox, showing its command; returns the seconds it took. One that fails ends this process, too, by its status."""
    # This process waits for its tools alone, which have a limit of their own: if it ended before a tool, that would be killed while it cleans up.
    ending.GRACE_SECONDS = None
    words = [str(argument) for argument in arguments]
    print(f'\n$ python {shlex.join([_shown(script), *words])}', flush=True)
    # By default OpenMP's threads spin while they wait; where another process wants the core, a step then takes ten times as long.
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(script), *words], env=environment, preexec_fn=_end_with_parent)
    try:
        code = process.wait()
    except BaseException:
        # Stopped by a signal: the tool gives its lock back and deletes its temporary files before it ends.
        process.terminate()
        process.wait()
        raise
    if code:
        sys.exit(code)
    return time.perf_counter() - start


def _end_with_parent() -> None:
    """Have this process killed when its parent is, which can then pass nothing on; without this, the next demo would find its folder in use."""
    if sys.platform == 'linux':  # other systems have nothing like it
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


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
