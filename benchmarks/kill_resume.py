"""Kill a training with SIGKILL at random times, resume it, and compare the result with the uninterrupted run, bit by bit.

    python benchmarks/kill_resume.py [CONFIG] [--times 20] [--work-dir DIR] [--cfg-options KEY=VALUE ...]

Two thirds of the kills come at a time drawn uniformly over the run, the others while a checkpoint is being written (as soon
as its temporary file exists). Each killed run is resumed by ``--resume`` until it ends. It counts as a success if weights,
averaged weights, optimizer and schedulers of its last checkpoint equal those of the uninterrupted run.

The config must give a short run: the run is trained 1 + about 1.7 x TIMES times.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG = REPOSITORY / 'configs' / 'demo' / 'gfl_demo.py'
# Makes the demo a run of some seconds: 3 epochs of 24 scenes.
DEFAULT_OPTIONS = [
    'train_cfg.max_epochs=3',
    'train_dataloader.dataset.indices=24',
    'default_hooks.checkpoint.interval=1',
]
COMPARED = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
POLL_SECONDS = 0.0002


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default=str(DEFAULT_CONFIG))
    parser.add_argument('--times', type=int, default=20, help='number of killed runs')
    parser.add_argument('--work-dir', default='work_dirs/kill_resume')
    parser.add_argument(
        '--train-script', default=str(REPOSITORY / 'tools' / 'train.py'), help='with the arguments of tools/train.py'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    parser.add_argument('--seed', type=int, default=0, help='of the instants and of the training')
    parser.add_argument('--json', help='write the table here')
    args = parser.parse_args()
    options = args.cfg_options or (DEFAULT_OPTIONS if Path(args.config) == DEFAULT_CONFIG else [])
    command = [sys.executable, args.train_script, args.config, '--seed', str(args.seed), '--no-validate']
    command += ['--cfg-options', *options] if options else []

    root = Path(args.work_dir).resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    begin = time.perf_counter()
    if run(command, root / 'unbroken') != 0:
        print(f'the unbroken run failed, see {root / "unbroken.log"}')
        return 2
    duration = time.perf_counter() - begin
    reference = last_checkpoint(root / 'unbroken')
    print(f'unbroken run: {duration:.1f} s, {reference.name}', flush=True)

    draw = random.Random(args.seed)
    rows = []
    for number in range(args.times):
        folder = root / f'killed_{number:02d}'
        aimed = number % 3 == 2
        while True:
            shutil.rmtree(folder, ignore_errors=True)
            killed_at = run_and_kill(command, folder, draw, None if aimed else draw.uniform(0, duration))
            if killed_at is not None:
                break
            duration *= 0.9  # it had ended before: this machine has become faster
        left = sorted(
            path.name for path in folder.glob('*') if path.suffix in ('.pth', '.tmp') and not path.is_symlink()
        )
        code = run([*command, '--resume'], folder)
        equal = code == 0 and same_checkpoint(reference, last_checkpoint(folder))
        rows.append(dict(aimed=aimed, seconds=round(killed_at, 2), left=left, resumed=code == 0, equal=equal))
        kind = 'inside a save' if aimed else 'random instant'
        print(
            f'{number + 1:3d}  {kind:14s} {killed_at:6.2f} s  left {left}  resumed {code == 0}  equal {equal}',
            flush=True,
        )
    resumed, equal = (sum(row[key] for row in rows) for key in ('resumed', 'equal'))
    torn = sum(any(name.endswith('.tmp') for name in row['left']) for row in rows)
    print(f'{resumed} of {len(rows)} resumed, {equal} equal to the unbroken run; {torn} kills hit a half-written file')
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1), encoding='utf-8')
    return 0 if equal == len(rows) else 1


def start(command: list[str], work_dir: Path) -> subprocess.Popen:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')]))
    with open(f'{work_dir}.log', 'ab') as log:
        return subprocess.Popen(
            [*command, '--work-dir', str(work_dir)], stdout=log, stderr=log, env=environment, start_new_session=True
        )


def run(command: list[str], work_dir: Path) -> int:
    return start(command, work_dir).wait()


def run_and_kill(command: list[str], work_dir: Path, draw: random.Random, after: float | None) -> float | None:
    """Kill the run and its loader workers after so many seconds, or inside a save. Returns the seconds it ran; None if it had ended."""
    begin = time.perf_counter()
    process = start(command, work_dir)
    saves_to_pass = draw.randrange(2)
    delay = draw.uniform(0, 0.01)
    seen: set[str] = set()
    while process.poll() is None:
        if after is not None:
            if time.perf_counter() - begin >= after:
                break
            time.sleep(0.005)
            continue
        fresh = {path.name for path in work_dir.glob('.*.pth.*.tmp')} - seen
        seen |= fresh
        if len(seen) > saves_to_pass and fresh:
            time.sleep(delay)
            break
        time.sleep(POLL_SECONDS)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return time.perf_counter() - begin


def last_checkpoint(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8'))


def same_checkpoint(one: Path, other: Path) -> bool:
    contents = [torch.load(path, weights_only=True) for path in (one, other)]
    return one.name == other.name and all(same(contents[0].get(key), contents[1].get(key)) for key in COMPARED)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


if __name__ == '__main__':
    sys.exit(main())
