"""Budgets: hand-computed blocks, the reference's figures, bounds, evaluation of candidates."""

import math
import pickle
import random

import pytest

from mmdet.archs.blocks.costs import elements, flops_per_pixel, model_size
from mmdet.errors import ConfigError
from mmdet.nas import Evaluator, build_budgets, is_3d, parse_structure
from mmdet.nas.budgets import EfficientScoreBudget, FlopsBudget, LayersBudget, MaxFeatureBudget, ModelSizeBudget

from .cases import FAMILIES, NUMBERS, PUBLISHED, R50_INITIAL, five_stages, stem, super_block


def test_no_budgets():
    assert build_budgets([]) == []
    assert Evaluator(dict(type='random'))(R50_INITIAL).feasible


@pytest.mark.parametrize('name', sorted(NUMBERS))
def test_published_figures(name):
    entry, numbers = PUBLISHED[name], NUMBERS[name]
    assert FlopsBudget(image_size=entry.image_size, frames=entry.frames)(entry.blocks) == numbers['flops']
    assert LayersBudget()(entry.blocks) == numbers['layers']
    assert sum(map(elements, entry.blocks)) == numbers['torch_params']
    assert ModelSizeBudget()(entry.blocks) == numbers.get('model_size', numbers['torch_params'])
    if 'flops_at_1280x800' in numbers:
        assert FlopsBudget(image_size=(800, 1280))(entry.blocks) == numbers['flops_at_1280x800']
    if 'efficient_score' in numbers:
        assert EfficientScoreBudget()(entry.blocks) == pytest.approx(numbers['efficient_score'], rel=1e-12)
    if 'max_feature' in numbers:
        assert MaxFeatureBudget(image_size=entry.image_size)(entry.blocks) == numbers['max_feature']


@pytest.mark.parametrize(
    ('block', 'flops', 'size'),
    [
        # weights, + 2 out (batch norm) + out (activation), at the output's area; sizes: weights + 2 out
        (stem(8), (216 + 24) / 4, 216 + 16),
        # conv1, conv2, conv3 (each + 3 out), projection + 3 out, pooling of 3 channels
        (
            super_block('SuperResK1KXK1', 3, 10, 4),
            12 + 12 + (144 + 12) / 4 + (40 + 30) / 4 + (30 + 30) / 4 + 3,
            (12 + 8) + (144 + 8) + (40 + 20) + (30 + 20),
        ),
        (super_block('SuperResK1KX', 10, 10, 4), 40 + 12 + (360 + 30) / 4 + 10, (40 + 8) + (360 + 20)),
        (super_block('SuperResKXKX', 3, 10, 4, s=1), 108 + 12 + 360 + 30 + 30 + 30, (108 + 8) + (360 + 20) + (30 + 20)),
        # no projection, no residual where the channels change
        (
            super_block('SuperResK1DWK1', 3, 10, 4),
            12 + 12 + (36 + 12) / 4 + (40 + 30) / 4,
            (12 + 8) + (36 + 8) + (40 + 20),
        ),
        # squeeze-excitation: parameters only
        (
            super_block('SuperResK1DWSEK1', 10, 10, 4, s=1),
            40 + 12 + 36 + 12 + 40 + 30,
            (40 + 8) + (36 + 8) + (40 + 20) + (2 * 4 * 8 + 2 * 8 + 2 * 4),
        ),
        # bits 4 x 8 of 64, weights of 8 / 8 byte
        (
            super_block('SuperQuantResK1DWK1', 10, 10, 4, s=1, nbitsA=[4] * 3, nbitsW=[8, 8, 4]),
            20 + 12 + 18 + 12 + 10 + 30,
            (40 + 8) + (36 + 8) + (20 + 20),
        ),
        (
            super_block('SuperRes3DK1DWK1', 10, 10, 4, s=2, kt=3),
            40 + 12 + (108 + 12) / 4 + (40 + 30) / 4 + 10,
            48 + 116 + 60,
        ),
    ],
)
def test_blocks_by_hand(block, flops, size):
    (parsed,) = parse_structure([block])
    assert flops_per_pixel(parsed) == flops
    assert model_size(parsed) == size


def test_repeated_units_add_up():
    (once,) = parse_structure([super_block('SuperResK1KXK1', 16, 16, 8, 1, s=1)])
    (thrice,) = parse_structure([super_block('SuperResK1KXK1', 16, 16, 8, 3, s=1)])
    later_unit = (16 * 8 + 24) + (8 * 72 + 24) + (8 * 16 + 48)
    assert flops_per_pixel(thrice) - flops_per_pixel(once) == 2 * later_unit


@pytest.mark.parametrize('name', sorted(FAMILIES))
def test_every_family_has_every_budget(name):
    structure = parse_structure(five_stages(name, **FAMILIES[name]))
    types = ['flops', 'model_size', 'layers', 'efficient_score', 'max_feature']
    budgets = build_budgets([dict(type=kind) for kind in types], image_size=64, frames=4 if is_3d(structure) else None)
    for budget in budgets:
        budget.check(structure)
        assert 0 < budget(structure) < math.inf


def test_flops_of_a_video_network_need_frames():
    structure = PUBLISHED['E3D_S'].blocks
    with pytest.raises(ConfigError, match='flops.frames: a video network needs frames'):
        FlopsBudget(image_size=160).check(structure)
    one, two = FlopsBudget(frames=1)(structure), FlopsBudget(frames=2)(structure)
    assert two == 2 * one


def test_max_feature_by_hand():
    """4 bytes a value: input 8x8x3 and output 4x4x8 of the stem; then 4x4x8 with 4x4x16 (1x1), in place (depthwise)."""
    structure = parse_structure([stem(8)])
    assert MaxFeatureBudget(image_size=8)(structure) == (8 * 8 * 3 + 4 * 4 * 8) * 4
    structure = parse_structure([stem(8), super_block('SuperResK1DWK1', 8, 8, 64, s=1)])
    # conv2 holds its own input and one channel of buffer, and the skip path
    assert MaxFeatureBudget(image_size=8)(structure) == (16 * 64 + 16 * 1 + 16 * 8) * 4
    structure = parse_structure([stem(8), super_block('SuperResK1DWK1', 8, 16, 64, s=1)])
    assert MaxFeatureBudget(image_size=8)(structure) == (16 * 64 + 16 * 16) * 4  # conv3


def test_bounds():
    (budget,) = build_budgets([dict(type='layers', upper=10, lower=5)])
    assert [budget.allows(value) for value in (4, 5, 10, 11)] == [False, True, True, False]
    assert [budget.violation(value) for value in (4, 7, 12)] == [0.2, 0.0, 0.2]
    assert budget.describe(12) == 'layers 12 (>= 5, <= 10: too large)'
    assert budget.describe(3) == 'layers 3 (>= 5: too small, <= 10)'


@pytest.mark.parametrize(
    ('budgets', 'message'),
    [
        ([dict(type='flop', budget=1)], r"budgets\[0\]\.type: unknown; there are \['efficient_score', 'flops'"),
        ([dict(budget=1)], r'budgets\[0\]: must be a dict with type'),
        ([dict(type='flops', limit=1)], r'budgets\[0\].limit: unknown'),
        ([dict(type='flops', budget='4G')], r"flops.upper: must be a number. Received: '4G'"),
        ([dict(type='flops', budget=1, upper=2)], 'flops: budget and upper are the same bound'),
        ([dict(type='flops', upper=1, lower=2)], r'flops.lower: must be <= the upper bound 1. Received: 2'),
        ([dict(type='flops', budget=1), dict(type='flops', lower=0)], r'budgets\[1\]: each budget once'),
        ([dict(type='flops', image_size=0)], 'image_size: must be an integer >= 1'),
        ([dict(type='latency', budget=1)], 'latency: the latency budget needs a latency predictor'),
    ],
)
def test_wrong_budgets(budgets, message):
    with pytest.raises(ConfigError, match=message):
        build_budgets(budgets)


R50_BUDGETS = [
    dict(type='flops', budget=4.1e9),
    dict(type='layers', budget=49),
    dict(type='model_size', budget=25.55e6),
]
R50_SCORE = dict(type='madnas', multi_block_ratio=[0, 0, 0, 0, 1])


def test_evaluation():
    evaluate = Evaluator(R50_SCORE, R50_BUDGETS, image_size=224)
    found = evaluate.check(R50_INITIAL)
    assert found == (True, 55.517441479312986, (1686741504.0, 16, 9639584.0))
    assert evaluate(R50_INITIAL) == evaluate.full(R50_INITIAL) == found
    # stops at the first violation; everything on demand
    large = parse_structure([stem(8), *(super_block('SuperResK1KXK1', 8, 8, 8, 20) for _ in range(4))])
    tight = Evaluator(R50_SCORE, [dict(type='layers', budget=49), dict(type='flops', budget=1.0)])
    assert tight(large) == (False, None, (241, None))
    assert tight.full(large).score is not None
    with pytest.raises(ConfigError, match=r'violates 2 of 2 budgets: layers 241 \(<= 49: too large\); flops'):
        tight.check(large)


def test_check_before_a_search():
    with pytest.raises(ConfigError, match='multi_block_ratio has 4 weights, the structure has 5 stages'):
        Evaluator(dict(type='madnas', multi_block_ratio=[0, 0, 1, 6])).check(R50_INITIAL)
    with pytest.raises(ConfigError, match=r"score.type: unknown; there are \['deepmad'"):
        Evaluator(dict(type='madness'))
    with pytest.raises(ConfigError, match="score.ratios: unknown.*did you mean 'ratio'"):
        Evaluator(dict(type='madnas', ratios=1))


def test_shared_memo_gives_the_same_as_separate_ones():
    """Mutants through one evaluator, against measures that have seen nothing else; also after pickling."""
    evaluate = pickle.loads(pickle.dumps(Evaluator(dict(type='deepmad', depth_penalty_ratio=10.0), R50_BUDGETS)))
    generator, structure = random.Random(3), list(R50_INITIAL)
    for _ in range(50):
        index = generator.randrange(1, 6)
        structure[index] = structure[index]._replace(layers=generator.randint(1, 6), btn=8 * generator.randint(2, 40))
        candidate = tuple(structure)
        fresh = Evaluator(dict(type='deepmad', depth_penalty_ratio=10.0), R50_BUDGETS)
        assert evaluate(candidate) == fresh(candidate)
        assert evaluate.full(candidate) == fresh.full(candidate)


def test_infinity_is_never_allowed():
    """A latency that cannot be predicted is infinite, and a search's state cannot hold it."""
    (unbounded,) = build_budgets([dict(type='flops')])
    assert unbounded.bounds[0] < 0 and unbounded.allows(1e30) and not unbounded.allows(float('inf'))
    (bounded,) = build_budgets([dict(type='flops', lower=1, upper=2)])
    assert [bounded.allows(value) for value in (0.5, 1, 2, 2.5, float('nan'))] == [False, True, True, False, False]
