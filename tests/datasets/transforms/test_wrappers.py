import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel, BaseTTAModel

from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError

from .helpers import make_sample

TTA = dict(
    type='TestTimeAug',
    transforms=[
        [dict(type='Resize', scale=(40, 20), keep_ratio=True), dict(type='Resize', scale=(60, 30), keep_ratio=True)],
        [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
        [dict(type='PackDetInputs')],
    ],
)


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


def test_tta_views():
    sample = make_sample(20, 10)
    image = sample['img'].copy()
    views = TRANSFORMS.build(TTA)(sample)
    assert set(views) == {'inputs', 'data_samples'} and len(views['inputs']) == len(views['data_samples']) == 4
    assert [tuple(view.shape) for view in views['inputs']] == [(3, 20, 40)] * 2 + [(3, 30, 60)] * 2
    assert [view.flip for view in views['data_samples']] == [True, False, True, False]
    assert [view.flip_direction for view in views['data_samples']] == ['horizontal', None] * 2
    assert [view.img_shape for view in views['data_samples']] == [(20, 40)] * 2 + [(30, 60)] * 2
    assert torch.equal(views['inputs'][0], views['inputs'][1].flip(-1))
    assert np.array_equal(sample['img'], image)


class _Recorder(BaseModel):
    def forward(self, inputs, data_samples=None, mode='predict'):
        assert mode == 'predict' and len(inputs) == len(data_samples) == 2
        return data_samples


class _Views(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return [[view.flip for view in views] for views in data_samples_list]


def test_tta_feeds_mmengine():
    transform = TRANSFORMS.build(TTA)
    batch = pseudo_collate([transform(make_sample(20, 10)), transform(make_sample(20, 10))])
    assert _Views(module=_Recorder()).test_step(batch) == [[True, False, True, False]] * 2


def test_nested_types_are_ours():
    transform = build(
        'RandomApply', transforms=[dict(type='Resize', scale=8), dict(type='RandomFlip', prob=1.0)], prob=1
    )
    assert [type(step) for step in transform] == [Resize, RandomFlip]
    assert transform(make_sample())['img_shape'] == (8, 8)


def test_mmcv_types_resolve():
    assert type(build('KeyMapper', transforms=[])).__module__.startswith('mmcv')


def test_random_apply():
    sample = make_sample()
    assert build('RandomApply', transforms=dict(type='Resize', scale=8), prob=0)(sample) is sample
    np.random.seed(0)
    transform = build('RandomApply', transforms=dict(type='Resize', scale=8), prob=0.3)
    share = np.mean([transform(make_sample())['img_shape'] == (8, 8) for _ in range(1000)])
    assert abs(share - 0.3) < 0.06  # 4 standard deviations


def test_random_choice():
    np.random.seed(0)
    pipelines = [[dict(type='Resize', scale=8)], [dict(type='Resize', scale=4), dict(type='Resize', scale=5)]]
    transform = build('RandomChoice', transforms=pipelines, prob=[0.2, 0.8])
    shapes = [transform(make_sample())['img_shape'] for _ in range(1000)]
    assert set(shapes) == {(8, 8), (5, 5)} and abs(shapes.count((8, 8)) / 1000 - 0.2) < 0.052


def test_compose_stops_at_none():
    transform = build('Compose', transforms=[lambda results: None, dict(type='Resize', scale=8)])
    assert transform(make_sample()) is None
    assert build('Compose', transforms=[])({'a': 1}) == {'a': 1}


@pytest.mark.parametrize(
    ('kind', 'arguments', 'field'),
    [
        ('Compose', dict(transforms=3), 'transforms'),
        ('Compose', dict(transforms=[3]), 'transforms'),
        ('RandomApply', dict(transforms=[], prob=1.5), 'prob'),
        ('RandomChoice', dict(transforms=[]), 'transforms'),
        ('RandomChoice', dict(transforms=[[], []], prob=[0.5, 0.6]), 'prob'),
        ('RandomChoice', dict(transforms=[[], []], prob=[1.0]), 'prob'),
        ('TestTimeAug', dict(transforms=[]), 'transforms'),
        ('TestTimeAug', dict(transforms=[dict(type='PackDetInputs')]), 'alternatives'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)
