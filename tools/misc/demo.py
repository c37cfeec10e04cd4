"""The demo: train a small GFL on synthetic drone scenes, evaluate it, measure its speed, and write a report.

    python tools/misc/demo.py [--work-dir work_dirs/gfl_demo] [--cfg-options KEY=VALUE ...]

Every step is a command of the toolbox and is printed before it runs; the scenes are generated on first use.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from mmdet.utils import reports_user_errors

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/demo/gfl_demo.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train, evaluate, measure and report on synthetic drone scenes')
    parser.add_argument('--work-dir', default='work_dirs/gfl_demo', help='where everything is written')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='handed to every step')
    return parser.parse_args()


def run(script: str, *arguments: str) -> float:
    """Run a tool of the repository, showing its command; returns the seconds it took."""
    print(f'\n$ python {script} {shlex.join(arguments)}', flush=True)
    start = time.perf_counter()
    result = subprocess.run([sys.executable, str(ROOT / script), *arguments], cwd=ROOT)
    if result.returncode:
        sys.exit(result.returncode)
    return time.perf_counter() - start


def newest(folder: Path, pattern: str) -> Path:
    """The file or folder matching ``pattern`` that was written last."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime)


@reports_user_errors
def main() -> None:
    args = parse_args()
    work_dir = (ROOT / args.work_dir).resolve()
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    # A run that was interrupted goes on; one that had finished is only evaluated again.
    training = run(
        'tools/train.py', CONFIG, '--work-dir', str(work_dir), '--seed', str(args.seed), '--resume', *options
    )
    checkpoint = (work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip()
    run(
        'tools/test.py',
        CONFIG,
        checkpoint,
        '--work-dir',
        str(work_dir),
        '--eval',
        'bbox',
        '--show-dir',
        'vis',
        *options,
    )
    metrics = newest(work_dir, '*/2*.json')
    pictures = newest(work_dir, '*/vis')
    speed = work_dir / 'benchmark.json'
    speed.unlink(missing_ok=True)
    run(
        'tools/benchmark.py', CONFIG, checkpoint, '--max-iter', '60', '--stage', 'total', '--json', str(speed), *options
    )
    report = work_dir / 'report.html'
    run(
        'tools/misc/make_report.py', str(work_dir), '--out', str(report), '--title', 'GFL on synthetic drone scenes',
        '--metrics', str(metrics), '--benchmark', str(speed), '--comparisons', str(pictures), '--max-pictures', '10',
    )  # fmt: skip
    ap50 = json.loads(metrics.read_text(encoding='utf-8'))['coco/bbox_mAP_50']
    print(f'\nAP50 on unseen scenes: {ap50:.3f}. Training took {training:.0f} s.\nReport: {report}')


if __name__ == '__main__':
    main()
