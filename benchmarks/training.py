"""Train a detector of a drone config for a given time from random weights: speed, loss curve, AP; and whether a resume is exact.

    python benchmarks/training.py CONFIG --data DATA [--train-seconds 60] [--batch-size 8] [--cfg-options ...]
    python benchmarks/training.py CONFIG --data DATA --check-resume

DATA is a folder as sample_data.py makes it, for the configs of MP-Det with its --mosaics. Precision is bf16, or float32 with --fp32. The AP is that of a short training: it shows that the pieces fit, not what the model gives.

--check-resume runs ``tools/train.py --deterministic`` three times on a few batches: unbroken, stopped in the middle, and resumed from there;
weights, optimizer and schedulers must come out equal, bit by bit.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from kill_resume import COMPARED, last_checkpoint, same
from measuring import Rows, add_row_arguments
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook

from mmdet.apis.training import configure_training
from mmdet.commands import run
from mmdet.engine import DetRunner
from mmdet.utils import load_config, register_all_modules

REPOSITORY = Path(__file__).resolve().parents[1]
CURVE_POINTS = 20
REPORT_SECONDS = 10
# Left before the deadline for the test and what follows it.
AFTER_SECONDS = 12


class TimedStop(Hook):
    """Stops an iteration-based training at a point of time; keeps losses and the times of the iterations.

    Args:
        seconds: from the first iteration on.

    Attributes:
        report: called every ten seconds.
    """

    priority = 'LOWEST'

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.losses: list[float] = []
        self.ends: list[float] = []
        self.start: float | None = None
        self.report: Callable[[], object] = list
        self.reported = time.perf_counter()

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.start = self.start or time.perf_counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.losses.append(float(outputs['loss']))  # waits for the device
        self.ends.append(time.perf_counter())
        if self.ends[-1] - self.reported > REPORT_SECONDS:
            self.report()
            self.reported = self.ends[-1]
        if self.ends[-1] - self.start > self.seconds:
            runner.train_loop.stop_training = True

    def figures(self, batch_size: int) -> dict:
        """What was seen so far: iterations, speed, losses, memory."""
        if not self.losses:
            return dict(iterations=0)
        steps = [end - begin for begin, end in zip(self.ends, self.ends[1:])]
        curve = self.curve()
        found = dict(iterations=len(self.losses), first_loss=self.losses[0], last_loss=curve[-1][1], loss_curve=curve)
        if steps:
            found['images/s'] = batch_size / statistics.median(steps)
        if torch.cuda.is_available():
            found['peak_mib'] = torch.cuda.max_memory_allocated() / 2**20
        return found

    def curve(self) -> list[list[float]]:
        """Iteration and mean loss, at most 20 points."""
        step = max(1, -(-len(self.losses) // CURVE_POINTS))
        return [[i + 1, round(statistics.mean(self.losses[i : i + step]), 4)] for i in range(0, len(self.losses), step)]


def training_config(args: argparse.Namespace, work_dir: Path) -> Config:
    """The config with this benchmark's data, batch size and precision, and without pretrained weights."""
    cfg = load_config(args.config, args.cfg_options)
    text = json.dumps(cfg.to_dict())
    cfg = Config(json.loads(text.replace(json.dumps(cfg.data_root)[1:-1], json.dumps(f'{args.data}/')[1:-1])))
    cfg.model.backbone.update(init_cfg=None, frozen_stages=-1, norm_eval=False)
    cfg.train_dataloader.update(
        batch_size=args.batch_size, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=min(args.workers, 2), persistent_workers=args.workers > 0)
    if not args.fp32:
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10**6, val_interval=10**6)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)]
    cfg.default_hooks.checkpoint.update(interval=10**6, by_epoch=False, save_last=False)
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    return configure_training(cfg, work_dir=str(work_dir), validate=False, seed=0)


def train(args: argparse.Namespace, rows: Rows) -> None:
    """Train for the time given, then test."""
    name = Path(args.config).stem
    figures: dict = dict(batch_size=args.batch_size)
    with rows.attempt('training', name, figures):
        runner = DetRunner.from_cfg(training_config(args, args.data / 'work' / name))
        stop = TimedStop(min(args.train_seconds, rows.seconds_left - AFTER_SECONDS))

        def report():
            figures.update(stop.figures(args.batch_size))
            rows.add('training', name, **figures)

        stop.report = report
        runner.register_hook(stop)
        try:
            runner.train()
        finally:  # also where the loss was not finite
            report()
        metrics = {key.split('/')[-1]: float(value) for key, value in runner.test().items()}
        figures.update({key: metrics[key] for key in ('AP', 'AP50', 'bbox_mAP', 'bbox_mAP_50') if key in metrics})
        rows.add('training', name, **figures)


def check_resume(args: argparse.Namespace, rows: Rows) -> None:
    """Six iterations at once against three, a stop, and three more."""
    name = Path(args.config).stem
    with rows.attempt('resume', name):
        folder = args.data / 'resume'
        cfg = training_config(args, folder)
        cfg.train_cfg.max_iters = 6
        cfg.default_hooks.checkpoint.update(interval=3)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / f'{name}.py'
        cfg.dump(str(config))
        together = [
            Training(config, folder / 'unbroken'),
            Training(config, folder / 'resumed', 'train_cfg.max_iters=3'),
        ]
        for training in together:
            training.finish()
        Training(config, folder / 'resumed', resume=True).finish()
        one, other = (torch.load(last_checkpoint(folder / run), weights_only=True) for run in ('unbroken', 'resumed'))
        differing = [key for key in COMPARED if not same(one.get(key), other.get(key))]
        if differing:
            raise AssertionError(f'the resumed run differs from the unbroken one in {differing}')
        rows.add('resume', name, equal_bit_by_bit=True)


class Training:
    """One ``tools/train.py --deterministic`` in a process of its own, which begins at once.

    On a CPU the process is a fork of this one, which has imported what it needs and has computed nothing; CUDA does not survive a fork.
    """

    def __init__(self, config: Path, work_dir: Path, *options: str, resume: bool = False):
        self.words = [str(config), '--work-dir', str(work_dir), '--deterministic', '--no-validate']
        self.words += [*(['--resume'] if resume else []), *(['--cfg-options', *options] if options else [])]
        self.log = work_dir.with_name(f'{work_dir.name}_{"second" if resume else "first"}.log')
        if torch.cuda.is_available():
            with self.log.open('wb') as output:
                command = [sys.executable, str(REPOSITORY / 'tools' / 'train.py'), *self.words]
                self.wait: Callable[[], int | None] = subprocess.Popen(command, stdout=output, stderr=output).wait
        else:
            process = multiprocessing.get_context('fork').Process(target=self._train)
            process.start()
            self.wait = lambda: process.join() or process.exitcode

    def _train(self) -> None:
        with self.log.open('wb') as output:
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)
        sys.exit(run('train', self.words))

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            RuntimeError: it failed; with the end of its output.
        """
        if code := self.wait():
            text = self.log.read_text(encoding='utf-8', errors='replace')[-3000:]
            raise RuntimeError(f'tools/train.py {" ".join(self.words)} ended with {code}:\n{text}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--train-seconds', type=float, default=60)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--fp32', action='store_true', help='float32 in place of bf16')
    parser.add_argument('--check-resume', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    add_row_arguments(parser)
    args = parser.parse_args()
    args.data = args.data.resolve()
    register_all_modules()
    (check_resume if args.check_resume else train)(args, Rows(args.rows, args.deadline))


if __name__ == '__main__':
    main()
