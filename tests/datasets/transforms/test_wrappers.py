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
        ('RandomChoice', dict(transforms='ab'), 'transforms'),
        ('RandomChoice', dict(transforms=[[], []], prob=[-0.5, 1.5]), 'prob'),
        ('RandomChoice', dict(transforms=[[], []], prob=1.0), 'prob'),
        ('TestTimeAug', dict(transforms=[]), 'transforms'),
        ('TestTimeAug', dict(transforms=[[]]), 'alternatives'),
        ('TestTimeAug', dict(transforms=[dict(type='PackDetInputs')]), 'alternatives'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)


def add(value):
    """A transform that notes its turn."""
    return lambda results: {'turns': [*results.get('turns', ()), value]}


def drop(results):
    return None


def test_compose_keeps_the_order_of_nested_lists():
    transform = build('Compose', transforms=[add(1), [add(2), [add(3)]], add(4)])
    assert transform({})['turns'] == [1, 2, 3, 4] and len(list(transform)) == 3
    assert transform.transforms[1].transforms[1].transforms[0]({})['turns'] == [3]
    assert build('Compose', transforms=dict(type='Resize', scale=8))(make_sample())['img_shape'] == (8, 8)


@pytest.mark.parametrize('transforms', [[drop, add(1)], [add(1), drop], [[drop], add(1)]])
def test_none_ends_every_wrapper(transforms):
    assert build('Compose', transforms=transforms)({}) is None
    assert build('RandomApply', transforms=transforms, prob=1)({}) is None
    assert build('RandomChoice', transforms=[transforms])({}) is None


@pytest.mark.parametrize(('roll', 'turns'), [(0.2999, [1]), (0.3, [])])
def test_random_apply_by_hand(monkeypatch, roll, turns):
    monkeypatch.setattr(np.random, 'rand', lambda: roll)
    assert build('RandomApply', transforms=[add(1)], prob=0.3)({}).get('turns', []) == turns


def test_random_apply_defaults_to_one_half(monkeypatch):
    monkeypatch.setattr(np.random, 'rand', lambda: 0.4999)
    assert build('RandomApply', transforms=[add(1)])({}) == {'turns': [1]}
    monkeypatch.setattr(np.random, 'rand', lambda: 0.5)
    assert build('RandomApply', transforms=[add(1)])({}) == {}


def test_random_choice_without_probabilities_is_even():
    np.random.seed(0)
    transform = build('RandomChoice', transforms=[add(0), [add(1)], add(2)])
    turns = [transform({})['turns'][0] for _ in range(900)]
    assert all(abs(turns.count(value) / 900 - 1 / 3) < 0.065 for value in range(3))  # 4 standard deviations


def test_tta_alternatives_may_be_lists_and_views_do_not_share():
    def write(results):
        results['img'][:] += 1
        return results

    sample = make_sample(20, 10)
    before = sample['img'].copy()
    transform = build('TestTimeAug', transforms=[[[write, write], write], [add(1), lambda results: results]])
    assert transform.subroutines[0].transforms[0].transforms == [write, write]
    views = build('TestTimeAug', transforms=[[[write, write], write]])(sample)
    assert np.array_equal(views['img'][0], before + 2) and np.array_equal(views['img'][1], before + 1)
    assert np.array_equal(sample['img'], before)
    assert repr(transform).startswith('TestTimeAug(4 views, steps=[[Compose([')


def test_one_view():
    assert build('TestTimeAug', transforms=[[add(1)], [add(2)]])({}) == {'turns': [[1, 2]]}


def test_tta_may_not_lose_the_sample():
    with pytest.raises(ConfigError, match='transforms: a transform returned None \(no sample\)'):
        build('TestTimeAug', transforms=[[add(1)], [add(2), drop]])({})


def test_compose_shows_its_steps():
    text = repr(build('Compose', transforms=[dict(type='RandomFlip', prob=0.5)]))
    assert text == "Compose([\n    RandomFlip(prob=[0.5], direction=['horizontal']),\n])"
