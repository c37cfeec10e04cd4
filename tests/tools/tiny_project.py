"""A whole project in a folder: images, COCO files and a config of a GFL that learns them in seconds; and ways to run the tools on it."""

import contextlib
import importlib.util
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmdet.visualization import DetLocalVisualizer

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = ('bright', 'dark')
NUM_TRAIN, NUM_VAL = 8, 5
_SIZE = 64

CONFIG = """
_base_ = ['{repository}/configs/_base_/models/gfl_small_fpn.py', '{repository}/configs/_base_/default_runtime.py']

model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(
        num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
        norm_cfg=dict(type='GN', num_groups=4, requires_grad=True),
    ),
)
metainfo = dict(classes=('bright', 'dark'))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='RepeatDataset',
        times=12,
        dataset=dict(
            type='CocoDataset', data_root='{folder}/', ann_file='train.json', data_prefix=dict(img='images/'), metainfo=metainfo,
            filter_cfg=dict(filter_empty_gt=False, min_size=8),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=(96, 96), keep_ratio=True),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ],
        ),
    ),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset', data_root='{folder}/', ann_file='val.json', data_prefix=dict(img='images/'), metainfo=metainfo,
        test_mode=True, pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='{folder}/val.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-3), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5)]
custom_hooks = [dict(type='EMAHook', momentum=0.2, update_buffers=True)]
default_hooks = dict(logger=dict(interval=8))
log_processor = dict(window_size=8)
"""


def write_project(folder: Path) -> Path:
    """Write images, annotations and ``tiny.py`` into ``folder``; returns the config's path.

    Grey pictures of 64 x 64 with one or two squares, bright or dark; the last picture of each split is empty.
    """
    (folder / 'images').mkdir(parents=True)
    random = np.random.RandomState(0)
    number = itertools.count(1)
    for split, count in (('train', NUM_TRAIN), ('val', NUM_VAL)):
        images, annotations = [], []
        for index in range(count):
            pixels = random.randint(90, 110, (_SIZE, _SIZE, 3), dtype=np.uint8)
            name = f'{split}_{index}.png'
            images.append(dict(id=100 + index, file_name=name, width=_SIZE, height=_SIZE))
            for label in range(0 if index == count - 1 else 1 + index % 2):
                label = (label + index) % 2
                side = int(random.randint(18, 26))
                x = int(random.randint(0, 32 - 26)) + 32 * (label == index % 2)
                y = int(random.randint(0, _SIZE - side))
                pixels[y : y + side, x : x + side] = (20, 230)[label == 0]
                annotations.append(
                    dict(
                        id=next(number), image_id=100 + index, category_id=5 + label, bbox=[x, y, side, side],
                        area=side * side, iscrowd=0,
                    )
                )  # fmt: skip
            cv2.imwrite(str(folder / 'images' / name), pixels)
        categories = [dict(id=5 + label, name=name) for label, name in enumerate(CLASSES)]
        document = dict(images=images, annotations=annotations, categories=categories)
        (folder / f'{split}.json').write_text(json.dumps(document))
    config = folder / 'tiny.py'
    config.write_text(CONFIG.replace('{repository}', REPOSITORY.as_posix()).replace('{folder}', folder.as_posix()))
    return config


def environment(**extra: str) -> dict[str, str]:
    """Environment of a process that runs a tool as a user would: one thread, no GPU, this interpreter for the shell scripts."""
    env = dict(
        os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', PYTHON=sys.executable, PYTHONPATH=str(REPOSITORY)
    )
    env.update(extra)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'MMDET_TRACEBACK'):
        if name not in extra:
            env.pop(name, None)
    return env


def free_port() -> str:
    """A TCP port that nobody listens at."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def shell(*command, cwd: Path, timeout: float = 180, **env: str) -> subprocess.CompletedProcess:
    """Run a command to its end, its output as text."""
    command = [str(part) for part in command]
    return subprocess.run(command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=timeout)


@contextlib.contextmanager
def fresh_instances():
    """Hide mmengine's instances by name (loggers, hubs, visualizers, scopes) and forget those made inside, as a new process would."""
    kinds = (MMLogger, MessageHub, Visualizer, DetLocalVisualizer, DefaultScope)
    before = [dict(kind._instance_dict) for kind in kinds]
    try:
        for kind in kinds[:-1]:
            kind._instance_dict.clear()
        yield
    finally:
        for handler in [handler for logger in MMLogger._instance_dict.values() for handler in logger.handlers]:
            handler.close()
        for kind, instances in zip(kinds, before):
            kind._instance_dict.clear()
            kind._instance_dict.update(instances)


_experiments = itertools.count(1)


def load_script(path: Path) -> ModuleType:
    """A script as a module, without running its ``main``."""
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(tool: str, *arguments) -> None:
    """``python tools/<tool> arguments`` in this process, which saves the imports' seconds.

    A run is named after its second; two of one second would share their logs, so each gets a name of its own.

    Raises:
        SystemExit: as the tool does.
    """
    module = load_script(REPOSITORY / 'tools' / tool)
    arguments = [str(argument) for argument in arguments]
    if tool in ('train.py', 'test.py'):
        name = f'experiment_name=tool{os.getpid()}_{next(_experiments)}'
        place = arguments.index('--cfg-options') + 1 if '--cfg-options' in arguments else None
        arguments = [*arguments[:place], name, *arguments[place:]] if place else [*arguments, '--cfg-options', name]
    with fresh_instances(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [tool, *arguments])
        patch.setenv('LOCAL_RANK', '0')
        patch.setenv('CUDA_VISIBLE_DEVICES', '-1')
        module.main()


def metrics_of(work_dir: Path) -> dict[str, float]:
    """The metrics that the newest run of ``tools/test.py`` left in its work folder; {} where it left none."""
    files = sorted(Path(work_dir).glob('*/*.json'), key=lambda path: path.stat().st_mtime_ns)
    files = [path for path in files if path.parent.name == path.stem]
    found = json.loads(files[-1].read_text()) if files else {}
    return {key: value for key, value in found.items() if key.startswith('coco/')}
