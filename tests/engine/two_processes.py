"""One process of tests/engine/test_two_processes.py: trains a toy whose parts are frozen, and evaluates two data sets.

    python -m tests.engine.two_processes OUT_DIR

Started by torchrun-like environment variables, or alone.
"""

import os
import sys
from pathlib import Path

import torch
from mmengine.hooks import Hook

from mmdet.engine import DetRunner
from mmdet.engine.checkpoint.loading import unwrap
from mmdet.evaluation import CocoMetric, MultiDatasetsEvaluator

from ..evaluation.test_evaluator import BOXES, prediction, two
from .toy import toy_config

OPTIONS = {
    'keys': {'optim_wrapper.paramwise_cfg.custom_keys': dict(backbone=dict(requires_grad=False))},
    'hook': dict(custom_hooks=[dict(type='FreezeHook', modules=['backbone'], begin=1, end=2)]),
    'unused': dict(custom_hooks=[dict(type='FreezeHook', modules=['bbox_head'], end=2)], find_unused_parameters=True),
}


class Recorder(Hook):
    priority = 'VERY_LOW'

    def __init__(self):
        self.states = []

    def after_train_epoch(self, runner):
        self.states.append({name: value.clone() for name, value in unwrap(runner.model).state_dict().items()})


def train(out: Path, name: str, world_size: int) -> list:
    options = {**OPTIONS[name], 'launcher': 'pytorch' if world_size > 1 else 'none', 'model.plain': True}
    cfg = toy_config(out / f'{name}_{world_size}', epochs=3, batch_size=4 // world_size, ema=False, **options)
    cfg.train_dataloader.sampler.shuffle = False
    cfg.experiment_name, cfg.val_cfg = f'{name}_{world_size}', None
    runner = DetRunner.from_cfg(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder.states


def evaluate(out: Path, rank: int, world_size: int) -> dict:
    files, concat = two(out, ids=((1, 2, 3), (1, 2)))
    evaluator = MultiDatasetsEvaluator([CocoMetric(file) for file in files], ['a', 'b'])
    evaluator.dataset_meta = concat.metainfo
    evaluator.bind(concat)
    evaluator.match_classes(('bus', 'car'))
    both = [(1, BOXES['car']), (0, BOXES['bus'])]
    found = [(0, 1, both), (0, 2, both), (0, 3, []), (1, 1, both), (1, 2, [])]
    count = -(-len(found) // world_size)
    for k in range(count):  # the last round is filled with the first image again, as a sampler does
        part, image_id, boxes = found[(k * world_size + rank) % len(found)]
        evaluator.process([prediction(image_id, boxes, part)])
    return dict(evaluator.evaluate(len(found)))


def main() -> None:
    out, rank, world_size = Path(sys.argv[1]), int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    found = {name: train(out, name, world_size) for name in OPTIONS}
    (out / f'own_{rank}_{world_size}').mkdir()
    found['evaluation'] = evaluate(out / f'own_{rank}_{world_size}', rank, world_size)
    torch.save(found, out / f'found_{world_size}_{rank}.pt')


if __name__ == '__main__':
    main()
