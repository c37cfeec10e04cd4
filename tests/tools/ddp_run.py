"""One process of tests/test_ddp.py: trains the small GFL and writes what it saw.

    python -m tests.tools.ddp_run CONFIG OUT_DIR SCENARIO ...

Started by torchrun-like environment variables (RANK, WORLD_SIZE, MASTER_PORT), or alone. A scenario is one of :data:`SCENARIOS`.
"""

import os
import sys
import traceback
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmdet.apis.training import configure_training
from mmdet.engine import DetRunner
from mmdet.utils import NonFiniteLossError, load_config

STEPS = 3
GLOBAL_BATCH = 4
SCENARIOS = ('plain', 'empty_rank', 'all_empty', 'nan')


class Recorder(Hook):
    """Losses and gradients of each iteration, and how many objects this process's batches had."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.losses, self.objects, self.finite = [], [], []

    def before_train(self, runner):
        zero_grad = runner.optim_wrapper.zero_grad

        def look_and_zero(**kwargs):
            parameters = [parameter for parameter in inner(runner).parameters() if parameter.requires_grad]
            self.finite.append(
                all(value.grad is not None and bool(value.grad.isfinite().all()) for value in parameters)
            )
            zero_grad(**kwargs)

        runner.optim_wrapper.zero_grad = look_and_zero

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.objects.append(sum(len(sample.gt_instances) for sample in data_batch['data_samples']))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.detach().clone() for name, value in outputs.items()})


def inner(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def build(config: str, out: Path, scenario: str, world_size: int) -> DetRunner:
    cfg = load_config(config)
    cfg.default_hooks.checkpoint.interval = 1000
    cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=[])
    cfg.experiment_name = f'{scenario}_{world_size}'
    cfg.custom_hooks = []
    cfg.log_level = 'ERROR'
    # Batch norms as in fine-tuning: otherwise each process normalises by its own half of the batch.
    cfg.model.backbone.norm_eval = True
    cfg.optim_wrapper = dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9), clip_grad=dict(max_norm=35)
    )
    cfg.train_cfg = dict(by_epoch=False, max_iters=STEPS, val_interval=1000)
    cfg.param_scheduler = []
    loader = cfg.train_dataloader
    loader.batch_size = GLOBAL_BATCH // world_size
    dataset = loader.dataset.dataset
    if scenario == 'empty_rank':
        # Position i of the order goes to process i % 2: every image of process 1 is without objects.
        loader.sampler.shuffle = False
        loader.batch_sampler = None
        loader.dataset.times = 1
        dataset.ann_file = 'every_second_empty.json'
    elif scenario == 'all_empty':
        dataset.ann_file = 'all_empty.json'
    configure_training(cfg, work_dir=str(out / f'{scenario}_{world_size}'), launcher='pytorch' if world_size > 1 else 'none',
                       validate=False, seed=5, deterministic=True)  # fmt: skip
    return DetRunner.from_cfg(cfg)


def train(runner: DetRunner, scenario: str, rank: int) -> dict:
    recorder = Recorder()
    runner.register_hook(recorder)
    model = inner(runner)
    runner._init_model_weights()
    runner._init_model_weights = lambda: None
    with torch.no_grad():
        # Scores of 0.5: the sum of the positives' scores, which the box losses are divided by, is then above its lower limit of 1 on
        # every process. Below it the limit counts once a process, in the reference as here, and one process would give another loss.
        model.bbox_head.gfl_cls.bias.zero_()
    if scenario == 'nan' and rank == 1:
        forward = model.bbox_head.losses

        def poisoned(*args):
            losses = forward(*args)
            if len(recorder.losses) == 1:
                losses['loss_bbox'][0] = losses['loss_bbox'][0] * float('nan')
            return losses

        model.bbox_head.losses = poisoned
    error = ''
    try:
        runner.train()
    except NonFiniteLossError as caught:
        error = str(caught)
    return dict(
        losses=recorder.losses,
        objects=recorder.objects,
        finite=recorder.finite,
        iterations=runner.iter,
        error=error,
        parameters={name: value.detach().clone() for name, value in model.state_dict().items()},
    )


def main() -> None:
    config, out, *scenarios = sys.argv[1:]
    torch.set_num_threads(1)
    out, world_size, rank = Path(out), int(os.environ.get('WORLD_SIZE', 1)), int(os.environ.get('RANK', 0))
    for scenario in scenarios:
        try:
            result = train(build(config, out, scenario, world_size), scenario, rank)
        except Exception:  # told to the test, which has the other process's word too
            result = dict(failure=traceback.format_exc())
        torch.save(result, out / f'{scenario}_{world_size}_{rank}.pt')
        if 'failure' in result:
            raise SystemExit(result['failure'])


if __name__ == '__main__':
    main()
