"""The demo: UFPMP-Det on synthetic drone scenes, from drawing them to a report.

    python tools/misc/demo.py [--work-dir work_dirs/ufpmp_demo] [--seed 0] [--verbose] [--cfg-options KEY=VALUE ...]

A coarse detector is trained at half resolution, the regions that it finds are packed into mosaics, and MP-Det is trained on these. Then the coarse
detector alone, the coarse detector on overlapping tiles, and both stages together are evaluated by the rules of VisDrone and COCO, and timed. Every
step is a command of the toolbox and is printed before it runs. A second start skips a finished training and continues an interrupted one.
"""

import argparse
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmdet.apis.composite_evaluation import read_reports
from mmdet.apis.demo import remember, write_page
from mmdet.config import ending
from mmdet.utils import load_config, reports_user_errors

ROOT = Path(__file__).resolve().parents[2]
# Data and results: beside the sources in a clone, in the current folder where ROOT is a part of the installed package.
BASE = ROOT if (ROOT / 'setup.py').is_file() else Path.cwd()
COARSE, MP = (os.path.relpath(ROOT / f'configs/demo/{name}_det_demo.py', BASE) for name in ('coarse', 'mp'))
BUILD, EVALUATE = 'UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py', 'UFPMP-Det-Tools/eval_script/ufpmp_det_eval.py'
# This process waits for its tools alone, which have a limit of their own: if it ended before a tool, that would be killed while it cleans up.
ending.GRACE_SECONDS = None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='UFPMP-Det on synthetic drone scenes, end to end')
    parser.add_argument('--work-dir', default='work_dirs/ufpmp_demo', help='where everything but the scenes is written')
    parser.add_argument('--seed', type=int, default=0, help='seed of both trainings; default: 0')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='handed to both trainings')
    parser.add_argument('--verbose', action='store_true', help='show what is otherwise in the log files only')
    return parser.parse_args()


def end_with_parent() -> None:
    """Have this process killed when its parent is, which can then pass nothing on; without this, the next demo would find its folder in use."""
    if sys.platform == 'linux':  # other systems have nothing like it
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run(script: str, *arguments: str | Path) -> float:
    """Run a tool of the repository, showing its command; returns the seconds it took."""
    arguments = [str(argument) for argument in arguments]
    print(f'\n$ python {os.path.relpath(ROOT / script, BASE)} {shlex.join(arguments)}', flush=True)
    # By default OpenMP's threads spin while they wait; where another process wants the core, a step then takes ten times as long.
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / script), *arguments], cwd=BASE, env=environment, preexec_fn=end_with_parent
    )
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


def train(config: str, work_dir: Path, seed: int, options: list[str]) -> Path:
    """Train, or go on; returns the last checkpoint."""
    run(
        'tools/train.py', config, '--work-dir', work_dir, '--seed', str(seed), '--resume',
        *(['--cfg-options', *options] if options else []),
    )  # fmt: skip
    return Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())


@reports_user_errors
def main() -> None:
    args = parse_args()
    work_dir = (BASE / args.work_dir).resolve()
    scenes = BASE / load_config(BASE / COARSE).data_root
    mosaics = work_dir / 'mosaics'
    annotations = {split: scenes / f'annotations/{split}.json' for split in ('train', 'val')}
    images = {split: scenes / f'{split}/images' for split in annotations}
    remember(work_dir, dict(seed=args.seed, cfg_options=args.cfg_options))
    begin = time.perf_counter()
    seconds = {}

    options = [*args.cfg_options, *(['verbose=True'] if args.verbose else [])]
    coarse = train(COARSE, work_dir / 'coarse', args.seed, options)
    seconds['scenes and coarse training'] = time.perf_counter() - begin

    seconds['mosaics'] = sum(
        run(
            BUILD, COARSE, coarse, images[split], annotations[split], mosaics / split, mosaics / f'{split}.json', '--no-flip',
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
    fine = train(MP, work_dir / 'mp_det', args.seed, [*paths, *options])
    seconds['MP-Det training'] = time.perf_counter() - start

    seconds['evaluation'] = run(
        EVALUATE, COARSE, coarse, MP, fine, annotations['val'], images['val'], '--no-flip',
        '--baselines', '--tile', '720', '405', '--show-dir', work_dir / 'vis', '--show', '4', '--json', work_dir / 'figures.json',
    )  # fmt: skip
    report = write_page(work_dir, read_reports(work_dir / 'figures.json', 'UFPMP-Det'), seconds)
    print('\n' + ', '.join(f'{step} {value:.0f} s' for step, value in seconds.items()))
    print(f'{time.perf_counter() - begin:.0f} s in all\nReport: {report}')


if __name__ == '__main__':
    main()
