"""The paths of mmdetection 3.x lead to the rooms of this package."""

import importlib

import pytest
import torch

from mmdet import core
from mmdet.models import task_modules
from mmdet.moved import MOVED
from mmdet.registry import TASK_UTILS

PATHS = [path for path in MOVED if path.startswith('mmdet.models.task_modules.')]


@pytest.mark.parametrize('package', ['assigners', 'coders', 'prior_generators', 'samplers'])
def test_packages_hold_the_objects_of_core(package):
    module = importlib.import_module(f'mmdet.models.task_modules.{package}')
    for name in module.__all__:
        assert getattr(module, name) is getattr(task_modules, name)
        assert getattr(module, name).__module__.startswith('mmdet.core.')


@pytest.mark.parametrize('path', PATHS)
def test_files_are_the_modules_of_core(path):
    module = importlib.import_module(path)
    assert (module.__name__,) == MOVED[path]


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('assigners.assign_result', 'AssignResult'), ('assigners.max_iou_assigner', 'MaxIoUAssigner'),
        ('assigners.iou2d_calculator', 'BboxOverlaps2D'), ('coders.base_bbox_coder', 'BaseBBoxCoder'),
        ('coders.distance_point_bbox_coder', 'DistancePointBBoxCoder'), ('prior_generators.anchor_generator', 'AnchorGenerator'),
        ('prior_generators.point_generator', 'MlvlPointGenerator'), ('samplers.sampling_result', 'SamplingResult'),
    ],
)  # fmt: skip
def test_names_are_in_their_files(path, name):
    assert getattr(importlib.import_module(f'mmdet.models.task_modules.{path}'), name) is getattr(core, name)


def test_build_functions():
    assert task_modules.BBOX_ASSIGNERS is TASK_UTILS
    coder = task_modules.build_bbox_coder(dict(type='DeltaXYWHBBoxCoder'), target_stds=(0.5, 0.5, 0.5, 0.5))
    assert isinstance(coder, core.DeltaXYWHBBoxCoder)
    box = torch.tensor([[0.0, 0, 10, 10]])
    assert coder.encode(box, box + 5).tolist() == [[1, 1, 0, 0]]
    assert isinstance(task_modules.build_assigner(dict(type='mmdet.ATSSAssigner', topk=9)), core.ATSSAssigner)
