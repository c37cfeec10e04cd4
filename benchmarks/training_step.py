"""Where the CPU time of a training step goes: the network, its losses, the optimizer, and everything around them.

    python benchmarks/training_step.py configs/demo/gfl_demo.py [--iterations 20] [--amp] [--cfg-options ...]

runs ``tools/train.py``'s own runner in this process, one thread, without workers, and prints the CPU milliseconds of each part, means over the iterations
after the first three, and the median and the least of whole iterations, which a machine that is slower at times changes less. A part does not contain the
parts below it; ``other`` is what is left of the iteration. Loading is a part of its own.
"""

import argparse
import functools
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import cv2
import torch
from mmengine.config import DictAction
from mmengine.hooks import Hook

from mmdet.apis.training import configure_training
from mmdet.engine import DetRunner
from mmdet.utils import load_config, register_all_modules

WARM_UP = 3


class Parts:
    """CPU seconds by part; time inside a part of a part counts for the inner one only."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.process_time()

    def note(self) -> None:
        """Add the time since the last call to the part that is open."""
        now = time.process_time()
        if self._open:
            self.spent[self._open[-1]] += now - self._since
        self._since = now

    def wrap(self, owner: Any, method: str, part: str) -> None:
        """Replace a method of an object, where it has that method, by one whose time is noted."""
        function: Callable | None = getattr(owner, method, None)
        if function is None:
            return

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.note()
            self._open.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.note()
                self._open.pop()

        setattr(owner, method, timed)


class StepTimer(Hook):
    """Wraps what a step consists of when training begins, and forgets the first iterations."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.parts = Parts()
        self.totals: list[float] = []  # CPU seconds at the end of each iteration, from that of the warm-up on

    def before_train(self, runner: DetRunner) -> None:
        wrap, model, wrapper = self.parts.wrap, runner.model, runner.optim_wrapper
        wrap(runner.train_loop, 'run_iter', 'other')
        wrap(model.data_preprocessor, 'forward', 'preprocessor')
        wrap(model.backbone, 'forward', 'network, forward')
        wrap(model, '_forward_neck', 'network, forward')
        if model.neck is not None:
            wrap(model.neck, 'forward', 'network, forward')
        head = model.bbox_head
        wrap(head, 'forward', 'network, forward')
        wrap(head, 'loss_by_feat', 'losses')
        wrap(head, 'get_targets', 'targets')
        wrap(model, 'parse_losses', 'sum of the losses')
        wrap(wrapper, '_require_finite', 'test of the loss')
        wrap(wrapper, 'backward', 'backward')
        wrap(wrapper, '_clip_grad', 'clipping')
        wrap(wrapper, 'zero_grad', 'zero_grad')
        wrap(wrapper.optimizer, 'step', 'optimizer')
        for hook in runner.hooks:
            for method in ('before_train_iter', 'after_train_iter'):
                if hook is not self:
                    wrap(hook, method, f'hook {type(hook).__name__}')

    def after_train_iter(self, runner: DetRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.parts.note()
        self.totals.append(sum(self.parts.spent.values()))
        if len(self.totals) == WARM_UP:
            self.parts.spent.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--iterations', type=int, default=20)
    parser.add_argument('--amp', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    register_all_modules()
    cfg = load_config(args.config, args.cfg_options)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=args.iterations + WARM_UP, val_interval=10**9)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)]
    cfg.default_hooks.checkpoint.update(interval=10**9, by_epoch=False, save_last=False)
    timer = StepTimer()
    with tempfile.TemporaryDirectory() as folder:
        cfg = configure_training(cfg, work_dir=folder, amp=args.amp, validate=False, seed=0)
        runner = DetRunner.from_cfg(cfg)
        runner.register_hook(timer)
        runner.train()
    ends = [0.0, *timer.totals[WARM_UP:]]
    count, steps = len(ends) - 1, [(end - start) * 1e3 for start, end in itertools.pairwise(ends)]
    total = sum(timer.parts.spent.values()) / count * 1e3
    print(
        f'\n{args.config}: {total:.2f} ms of CPU time an iteration (median {statistics.median(steps):.2f}, least {min(steps):.2f}), {count} iterations'
    )
    for part, seconds in sorted(timer.parts.spent.items(), key=lambda item: -item[1]):
        print(f'  {part:<28}{seconds / count * 1e3:9.2f} ms {seconds / count * 1e3 / total:7.1%}')


if __name__ == '__main__':
    main()
