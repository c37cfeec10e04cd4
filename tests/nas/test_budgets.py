"""Budgets: hand-computed blocks, the reference's figures, bounds, evaluation of candidates."""

import math
import pickle
import random

import pytest

from mmdet.archs.blocks.costs import elements, flops_per_pixel, model_size
from mmdet.errors import ConfigError
from mmdet.nas import Evaluator, build_budgets, is_3d, parse_structure
from mmdet.nas.budgets import Budget, EfficientScoreBudget, FlopsBudget, LayersBudget, MaxFeatureBudget, ModelSizeBudget

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
        ([dict(type='flops', budget=1), dict(type='flops', lower=0)], r'budgets\[1\]: a budget may be given once only'),
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


@pytest.mark.parametrize(
    ('bounds', 'value', 'violation', 'text'),
    [
        ({}, 5, 0.0, 'layers 5 (no bound)'),
        (dict(upper=10), 10, 0.0, 'layers 10 (<= 10)'),
        (dict(upper=10), 15, 0.5, 'layers 15 (<= 10: too large)'),
        (dict(lower=10), 5, 0.5, 'layers 5 (>= 10: too small)'),
        (dict(budget=4, lower=4), 4, 0.0, 'layers 4 (>= 4, <= 4)'),
        (dict(upper=0), 3, 3.0, 'layers 3 (<= 0: too large)'),
        (dict(lower=1, upper=2), float('inf'), float('inf'), 'layers inf (>= 1, <= 2: too large)'),
        (dict(lower=1), float('inf'), float('inf'), 'layers inf (>= 1)'),
        ({}, float('inf'), float('inf'), 'layers inf (no bound)'),
    ],
)
def test_violations_and_descriptions(bounds, value, violation, text):
    budget = LayersBudget(**bounds)
    assert budget.violation(value) == violation and budget.describe(value) == text
    assert budget.allows(value) == (violation == 0)


def test_wrong_bounds():
    for value in (True, float('nan'), '1'):
        with pytest.raises(ConfigError, match='layers.lower: must be a number'):
            LayersBudget(lower=value)
    for size in (0, (1, 2, 3), (0, 4), '44', 1.5):
        with pytest.raises(ConfigError, match='image_size: must be an integer >= 1 or'):
            LayersBudget(image_size=size)


def test_layers_and_sizes_by_hand():
    """Stem 1; two units of three; two of two; head 1."""
    structure = parse_structure(
        [
            stem(8),
            super_block('SuperResK1KXK1', 8, 8, 8, 2),
            super_block('SuperResK1KXK1', 8, 16, 8, 1),
            {'class': 'ConvKXBNRELU', 'in': 16, 'out': 24, 'k': 1},
        ]
    )
    assert LayersBudget()(structure) == 1 + 6 + 3 + 1
    sizes = [
        216 + 16,
        (64 + 16) + (576 + 16) + (64 + 16) + (64 + 16) + (64 + 576 + 64 + 48),
        80 + 592 + 160 + 160,
        384 + 48,
    ]
    assert [model_size(block) for block in structure] == sizes and ModelSizeBudget()(structure) == sum(sizes)


def test_flops_by_hand():
    """An image of 6 x 10 pixels, areas without rounding: 60, 15, 3.75; frames multiply."""
    structure = parse_structure([stem(8), {'class': 'ConvKXBNRELU', 'in': 8, 'out': 4, 'k': 1, 's': 2}])
    flops = (216 + 24) * 15 + (32 + 12) * 3.75
    assert FlopsBudget(image_size=(6, 10))(structure) == flops
    assert FlopsBudget(image_size=(6, 10), frames=3)(structure) == 3 * flops


def test_elements_count_bits_as_one():
    (block,) = parse_structure([super_block('SuperQuantResK1DWK1', 8, 8, 16, s=1, nbitsA=[4] * 3, nbitsW=[2, 4, 8])])
    assert elements(block) == 128 + 32 + 144 + 32 + 128 + 16
    assert model_size(block) == 128 / 4 + 32 + 144 / 2 + 32 + 128 + 16


def test_efficient_score_by_hand():
    """Stem of fan-in 27; then two units of fan-ins 8, 36, 4: of the two stages the deeper counts."""
    structure = parse_structure([stem(8), super_block('SuperResK1KXK1', 8, 8, 4, 2)])
    log_width = math.log(27) + 2 * (math.log(8) + math.log(36) + math.log(4))
    assert EfficientScoreBudget()(structure) == pytest.approx(7 * math.exp(-log_width / 7))
    assert EfficientScoreBudget()(structure[:1]) == pytest.approx(1 / 27)
    # a wide last stage lowers it: the stage before counts
    wide = parse_structure(
        [{**stem(8), 'k': 1}, super_block('SuperResK1KX', 8, 8, 1, 4), super_block('SuperResKXKX', 8, 999, 999, k=31)]
    )
    width = math.log(3) + 4 * (math.log(8) + math.log(9))
    assert EfficientScoreBudget()(wide) == pytest.approx(9 * math.exp(-width / 9))


def test_max_feature_of_quantised_and_strided_blocks():
    """Bits of the next convolution's input store an output; the last output is stored in the last input's bits."""
    bits = dict(nbitsA=[4, 8, 2], nbitsW=[8, 8, 8])
    structure = parse_structure([super_block('SuperQuantResK1DWK1', 8, 16, 64, s=2, **bits)])
    conv1 = 64 * 8 * 4 / 8 + 64 * 64 * 8 / 8  # 8 x 8 pixels
    conv2 = 64 * 64 * 8 / 8 + 16 * 1 * 2 / 8  # one channel of buffer
    conv3 = 16 * 64 * 2 / 8 + 16 * 16 * 2 / 8
    assert MaxFeatureBudget(image_size=8)(structure) == max(conv1, conv2, conv3)
    # a skip path of 8 channels at a quarter of the pixels, in 4 bits, is held during conv2
    skip = parse_structure([super_block('SuperQuantResK1DWK1', 8, 8, 64, s=2, **bits)])
    assert MaxFeatureBudget(image_size=8)(skip) == max(conv1, conv2 + 16 * 8 * 4 / 8)
    # the output of a block is stored in the bits of the next: 16 x 16 x 8 of the stem in 4 bits
    after = parse_structure([stem(8), super_block('SuperQuantResK1DWK1', 8, 16, 8, s=1, **bits)])
    assert MaxFeatureBudget(image_size=32)(after) == 32 * 32 * 3 * 4 + 16 * 16 * 8 * 4 / 8
    assert MaxFeatureBudget(image_size=32, frames=3)(after) == 3 * MaxFeatureBudget(image_size=32)(after)
    wide = parse_structure([{'class': 'ConvKXBNRELU', 'in': 4, 'out': 8, 'k': 1}])
    assert MaxFeatureBudget(image_size=(2, 5))(wide) == 10 * (4 + 8) * 4


class Counting(Budget):
    """Notes when it is asked."""

    name = 'counting'
    calls = 0

    def __call__(self, structure):
        self.calls += 1
        return 1.0


def test_the_first_violation_ends_an_evaluation():
    """In the order of the budgets; bounds are inclusive on both sides."""
    last = Counting(upper=2)
    evaluate = Evaluator(R50_SCORE, [LayersBudget(lower=16, upper=16), ModelSizeBudget(upper=1.0), last])
    assert evaluate(R50_INITIAL) == (False, None, (16, 9639584.0, None)) and last.calls == 0
    assert evaluate.full(R50_INITIAL) == (False, 55.517441479312986, (16, 9639584.0, 1.0)) and last.calls == 1
    assert Evaluator(R50_SCORE, [LayersBudget(upper=15)])(R50_INITIAL) == (False, None, (16,))
    assert Evaluator(R50_SCORE, [LayersBudget(lower=17)])(R50_INITIAL) == (False, None, (16,))
    assert Evaluator(R50_SCORE, [last])(R50_INITIAL) == (True, 55.517441479312986, (1.0,))


def test_facts_fill_what_a_config_leaves_open():
    flops, layers = build_budgets([dict(type='flops', image_size=96, upper=1), dict(type='layers')], image_size=(64, 32), frames=4)  # fmt: skip
    assert (flops.image_hw, flops.frames, layers.image_hw) == ((96, 96), 4, (64, 32))
    given = LayersBudget()
    assert build_budgets([given]) == [given]
    (latency,) = build_budgets([dict(type='latency')], predictor=dict(type='MeasuredLatency', image_size=32))
    assert latency.predictor.image_size == 32
    with pytest.raises(ConfigError, match="latency.repeat: unknown; there are .*did you mean 'repeats'"):
        build_budgets([], predictor=dict(type='MeasuredLatency', repeat=32))
