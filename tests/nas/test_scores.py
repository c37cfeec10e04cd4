"""Scores: the reference's figures, hand-computed terms, forward passes against closed forms."""

import math

import pytest
import torch

from mmdet.archs.blocks.costs import elements
from mmdet.errors import ConfigError
from mmdet.nas import Block, Conv, family_of, is_quantised, parse_structure, stages
from mmdet.nas.budgets import EfficientScoreBudget, FlopsBudget, MaxFeatureBudget
from mmdet.nas.scores import (
    DeepMad,
    Ensemble,
    ForwardEntropy,
    MadNas,
    QEScore,
    RandomScore,
    STEntropy,
    ZenScore,
    depth_penalty,
    log_terms,
    quantised_std,
)
from mmdet.nas.scores.forward import RandomChain
from mmdet.registry import NAS_SCORES
from mmdet.utils import load_config

from .cases import FAMILIES, NUMBERS, PUBLISHED, R50_INITIAL, ROOT, STARTS, five_stages, stem, super_block

CLOSED_FORM = {
    'score_cls_madnas': MadNas(multi_block_ratio=[0, 0, 0, 0, 1]),
    'score_det_madnas': MadNas(multi_block_ratio=[0, 0, 1, 1, 6]),
    'score_damo_madnas': MadNas(multi_block_ratio=[0, 0, 1, 1, 16]),
    'score_deepmad': DeepMad(),
    'deepmad_minus_penalty': DeepMad(depth_penalty_ratio=10.0),
    'score_quant_madnas': QEScore(),
    'score_stentr_res160_frames13': STEntropy(frames=13),
    'score_stentr_res160_frames16': STEntropy(frames=16),
    'score_stentr_res224_frames16': STEntropy(image_size=224, frames=16),
    'score_stentr_res312_frames16': STEntropy(image_size=312, frames=16),
}


def test_a_stem_alone():
    """One stage: ln sqrt(3 * 9) + ln 8."""
    assert MadNas(multi_block_ratio=[2])(parse_structure([stem(8)])) == pytest.approx(
        2 * (0.5 * math.log(27) + math.log(8))
    )


@pytest.mark.parametrize('strides', [(1, 2), (2, 2)])
def test_stages_of_a_score(strides):
    """A stage begins with the first block and with each block of stride 2, whatever the stride of the first block."""
    values = [(strides[0], (1.0,), 0.25), (1, (2.0, 3.0), 0.5), (strides[1], (4.0,), 0.75)]
    score, deepmad = MadNas(multi_block_ratio=[1, 10]), DeepMad(multi_block_ratio=[1, 10], image_size=8 * strides[0])
    assert score.weighted_stages(values) == 6.5 + 10 * 10.75
    plain = [(*value, False, ('', 0)) for value in values]
    first, second = (0.5 + math.log(64)) * 6, (0.75 + math.log(16)) * 10
    assert deepmad.combine(plain) == pytest.approx(first + 10 * second)
    for wrong in (plain[:2], [*plain, (2, (), 0.0, False, ('', 0))], []):
        with pytest.raises(ConfigError, match='must have one weight per stage'):
            score.weighted_stages([value[:3] for value in wrong])
        with pytest.raises(ConfigError, match='must have one weight per stage'):
            deepmad.combine(wrong)


def check_figures(blocks, numbers: dict) -> None:
    """All scores that the original printed for a structure."""
    for key, score in CLOSED_FORM.items():
        if key in numbers:
            assert score(blocks) == pytest.approx(numbers[key], rel=1e-12), key
    if 'depth_penalty_x10' in numbers:
        assert 10 * depth_penalty(blocks) == pytest.approx(numbers['depth_penalty_x10'], rel=1e-12)
    if 'block_log_terms' in numbers:
        terms = [term for block in blocks for term in log_terms(block, MadNas().conv_term if block.bits_a else None)]
        assert terms == pytest.approx(numbers['block_log_terms'], abs=1e-6)


@pytest.mark.parametrize('name', sorted(NUMBERS))
def test_published_figures(name):
    check_figures(PUBLISHED[name].blocks, NUMBERS[name])


@pytest.mark.parametrize('name', sorted(STARTS))
def test_initial_structures_of_the_configs(name):
    cfg, numbers = load_config(ROOT / 'configs' / 'tinynas' / f'{name}.py'), STARTS[name]
    blocks = parse_structure(cfg.structure)
    check_figures(blocks, numbers)
    found = stages(blocks, cfg.image_size)
    assert [stage.channels for stage in found] == numbers['stage_channels']
    if not any(family_of(block.type).has_se for block in blocks):  # whose side the original takes for 1
        assert [stage.side for stage in found] == numbers['stage_sides']
    assert [stage.end for stage in found] == numbers['stage_ends']
    assert [stage.layers for stage in found] == numbers['stage_layers']
    facts = dict(image_size=cfg.image_size, frames=cfg.get('frames'))
    assert FlopsBudget(**facts)(blocks) == numbers['flops']
    assert sum(map(elements, blocks)) == numbers['torch_params']
    if 'max_feature' in numbers:
        assert MaxFeatureBudget(**facts)(blocks) == numbers['max_feature']
    if 'efficient_score' in numbers:
        assert EfficientScoreBudget()(blocks) == pytest.approx(numbers['efficient_score'], rel=1e-12)


def test_stentr_rounds_sides_down():
    """A 3x3 stem and a strided 3x3x3 block at 27 pixels: sides 13 and 6; k 1 convolutions have no factor."""
    structure = parse_structure(
        [{**stem(8), 'class': 'Conv3DKXBNRELU', 'kt': 1}, super_block('SuperRes3DK1DWK1', 8, 16, 24, kt=3)]
    )

    def cosine(frames: int, side: int, kt: int, k: int) -> float:
        return (frames * kt + 2 * side * k) / math.sqrt((frames**2 + 2 * side**2) * (kt**2 + 2 * k**2))

    stem_term = 0.5 * math.log(3 * 9 * -math.log(1 - cosine(4, 13, 1, 3)))
    depthwise = 0.5 * math.log(27 * -math.log(1 - cosine(4, 6, 3, 3)))
    block_term = 0.5 * math.log(8) + depthwise + 0.5 * math.log(24)
    score = STEntropy(multi_block_ratio=[1, 10], image_size=27, frames=4)(structure)
    assert score == pytest.approx(stem_term + math.log(8) + 10 * (stem_term + block_term + math.log(16)), rel=1e-12)


@pytest.mark.parametrize('cls', [ZenScore, ForwardEntropy])
def test_each_repeat_has_a_seed_of_its_own(cls):
    """Three repeats from seed 5 are the networks of seeds 5, 6 and 7, and the score is their mean."""
    structure = parse_structure(five_stages('SuperResK1KX', layers=1))
    options = dict(image_size=32, batch_size=2)
    singles = [cls(seed=seed, repeats=1, **options)(structure) for seed in (5, 6, 7)]
    score = cls(seed=5, repeats=3, **options)
    assert score.samples(structure) == singles and len(set(singles)) == 3
    assert score(structure) == pytest.approx(sum(singles) / 3, rel=1e-12)


def test_ratio_scales_every_score_but_not_the_penalty():
    two = dict(ratio=2.0)
    for cls in (MadNas, DeepMad):
        assert cls(**two)(R50_INITIAL) == pytest.approx(2 * cls()(R50_INITIAL))
    weights = dict(multi_block_ratio=[0, 0, 0, 0, 1])
    assert STEntropy(**weights, **two)(R50_INITIAL) == pytest.approx(2 * STEntropy(**weights)(R50_INITIAL))
    penalised = DeepMad(depth_penalty_ratio=10.0, **two)(R50_INITIAL)
    assert penalised == pytest.approx(2 * DeepMad()(R50_INITIAL) - 10)  # equal depths: a penalty of 1
    small = dict(image_size=16, batch_size=2, repeats=1)
    structure = parse_structure([stem(8)])
    for make in (
        lambda **kw: ZenScore(**small, **kw),
        lambda **kw: ForwardEntropy(multi_block_ratio=[1], **small, **kw),
    ):
        assert make(**two)(structure) == pytest.approx(2 * make()(structure))
    assert RandomScore(seed=3, **two)(R50_INITIAL) == 2 * RandomScore(seed=3)(R50_INITIAL)


def test_forward_entropy_of_one_convolution_by_hand():
    """A 1x1 stem: ln of the output's standard deviation plus ln of its 8 channels; scales of weights and input multiply it."""
    structure = parse_structure([{**stem(8), 'k': 1, 's': 1}])
    score = ForwardEntropy(multi_block_ratio=[3], image_size=4, batch_size=2, repeats=1, init_std=2.0, init_std_act=5.0, seed=4)  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, 3, 4, 4, generator=generator)
    weights = torch.randn(8, 3, 1, 1, generator=generator)
    std = 10 * torch.nn.functional.conv2d(x, weights).std().item()
    assert score(structure) == pytest.approx(3 * (math.log(std) + math.log(8)), rel=1e-6)


def test_chain_of_a_video_network():
    """Temporal padding keeps the clip's length; the stride is spatial."""
    conv = Conv(4, 6, 3, 2, 2, 5)
    chain = RandomChain((Block('SuperRes3DK1DWK1', 4, 6, 3, 2, 1, 8, 5),), seed=0, device='cpu', std=3.0)
    weights = chain.weights(conv)
    assert weights.shape == (6, 2, 5, 3, 3)
    assert chain.inputs(2, 9, 7).shape == (2, 4, 7, 9, 9)
    assert chain.run(conv, torch.zeros(2, 4, 7, 9, 9), weights).shape == (2, 6, 7, 5, 5)
    many = RandomChain((Block('ConvKXBNRELU', 64, 64, 3),), seed=0, device='cpu', std=3.0)
    assert many.weights(Conv(64, 64, 3)).std().item() == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ZenScore(image_size=0), 'image_size: must be an integer >= 1. Received: 0'),
        (lambda: ForwardEntropy(repeats=True), 'repeats: must be an integer >= 1. Received: True'),
        (lambda: STEntropy(frames=0), 'frames: must be an integer >= 1. Received: 0'),
        (lambda: DeepMad(image_size=0), 'image_size: must be an integer >= 1'),
        (lambda: MadNas(init_std=0), 'init_std: must be a number > 0. Received: 0'),
        (lambda: MadNas(init_std_act='5'), "init_std_act: must be a number > 0. Received: '5'"),
    ],
)
def test_impossible_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_golden_network_of_the_first_version():
    """Every digit."""
    assert MadNas(multi_block_ratio=[0, 0, 1, 1, 16])(PUBLISHED['tutorial_k1kx_small'].blocks) == 1399.2675807481487


@pytest.mark.parametrize(
    ('std', 'bits', 'expected'),
    [
        (1, 2, 1.00891936), (4, 3, 2.89039402), (4, 4, 3.85047126), (4, 5, 4.01017297), (5, 4, 4.52819021), (5, 5, 5.00204805),
        (5, 8, 5.00832640),
    ],
)  # fmt: skip
def test_quantised_std(std, bits, expected):
    assert quantised_std(std, bits) == pytest.approx(expected, abs=5e-9)


def test_quantised_std_against_samples():
    generator = torch.Generator().manual_seed(0)
    values = (3 * torch.randn(200_000, generator=generator)).round().clamp(-4, 4)
    assert values.std().item() == pytest.approx(quantised_std(3, 3), rel=0.01)


@pytest.mark.parametrize(
    ('name', 'fan_ins'),
    [
        ('SuperResK1KXK1', [(10, 4 * 9, 4), (6, 4 * 9, 4)]),
        ('SuperResK1KX', [(10, 4 * 9), (6, 4 * 9)]),
        ('SuperResKXKX', [(10 * 9, 4 * 9), (6 * 9, 4 * 9)]),
        ('SuperResK1DWK1', [(10, 9, 4), (6, 9, 4)]),
        ('SuperResK1DWSEK1', [(10, 9, 4), (6, 9, 4)]),
        ('SuperRes3DK1DWK1', [(10, 9 * 3, 4), (6, 9 * 3, 4)]),
    ],
)
def test_log_terms_by_hand(name, fan_ins):
    (block,) = parse_structure([super_block(name, 10, 6, 4, 2, **FAMILIES[name])])
    expected = [0.5 * math.log(math.prod(unit)) for unit in fan_ins]
    assert log_terms(block, MadNas().conv_term) == pytest.approx(expected)


def test_bits_enter_the_entropy():
    plain = five_stages('SuperResK1DWK1')
    bits = [{**block, 'nbitsA': [5] * 6, 'nbitsW': [4] * 6} if 'L' in block else block for block in plain]
    gain = math.log(quantised_std(5, 5) * quantised_std(4, 4)) - math.log(5)
    score = MadNas(multi_block_ratio=[0, 0, 0, 0, 1])
    assert score(parse_structure(bits)) - score(parse_structure(plain)) == pytest.approx(4 * 6 * gain)


def test_deepmad_by_hand():
    structure = parse_structure(five_stages('SuperResK1KXK1', layers=1))
    terms = [log_terms(block, MadNas().conv_term)[0] for block in structure]
    score = DeepMad(multi_block_ratio=[1, 0, 0, 0, 2], image_size=64)(structure)
    assert score == pytest.approx(math.log(8 * 32**2) * terms[0] + 2 * math.log(40 * 2**2) * sum(terms))


def test_deepmad_exponents():
    (block,) = parse_structure([stem(8)])
    (term,) = log_terms(block, DeepMad(alpha1=2, alpha2=0.5).conv_term)
    assert term == pytest.approx(math.log(3) + 0.5 * math.log(3))


def test_deepmad_after_squeeze_excitation():
    """The reference takes the side for 1 from the first squeezed block on."""
    squeezed = parse_structure(five_stages('SuperResK1DWSEK1'))
    plain = parse_structure(five_stages('SuperResK1DWK1'))
    assert DeepMad(true_resolution=True)(squeezed) == DeepMad()(plain)
    weights = [0, 0, 0, 0, 1]
    total = sum(sum(log_terms(block, MadNas().conv_term)) for block in squeezed)
    assert DeepMad(multi_block_ratio=weights)(squeezed) == pytest.approx(math.log(40) * total)


@pytest.mark.parametrize(
    ('name', 'depths', 'used'),
    [
        ('SuperResK1KXK1', [9, 1, 2, 4, 6], [2, 4, 6]),
        ('SuperResK1KXK1', [1, 2, 4, 6], [1, 2, 4, 6]),
        ('SuperResKXKX', [9, 1, 2, 4], [1, 2, 4]),
        ('SuperResK1KX', [9, 1, 2, 4], [9, 1, 2, 4]),
        ('SuperResK1DWK1', [9, 1, 2, 4, 6], [9, 1, 2, 4, 6]),
    ],
)
def test_depth_penalty(name, depths, used):
    structure = parse_structure([stem(8), *(super_block(name, 8, 8, 8, layers) for layers in depths)])
    std = torch.tensor(used, dtype=torch.float64).std(unbiased=False).item()
    assert depth_penalty(structure) == pytest.approx(math.exp(std))
    assert depth_penalty(structure[:1]) == 1.0


@pytest.mark.parametrize('name', sorted(FAMILIES))
@pytest.mark.parametrize('score', ['madnas', 'deepmad', 'stentr', 'entropy', 'zen', 'random'])
def test_every_family_has_every_score(name, score):
    structure = parse_structure(five_stages(name, layers=2, **FAMILIES[name]))
    small = dict(image_size=32, batch_size=2, repeats=1, frames=3) if score in ('entropy', 'zen') else {}
    built = NAS_SCORES.build(dict(type=score, **small))
    built.check(structure)
    assert math.isfinite(built(structure))


def test_scores_that_do_not_apply():
    assert 'bit widths' in QEScore().why_not(R50_INITIAL)
    assert QEScore().why_not(PUBLISHED['mixed7d0G'].blocks) is None and is_quantised(PUBLISHED['mixed7d0G'].blocks)
    assert 'used up' in DeepMad(image_size=16).why_not(R50_INITIAL)
    for score in (
        MadNas(multi_block_ratio=[1, 1]),
        DeepMad(multi_block_ratio=[1] * 6),
        STEntropy(multi_block_ratio=[1]),
    ):
        assert 'stages' in score.why_not(R50_INITIAL)
        with pytest.raises(ConfigError, match='multi_block_ratio: must have one weight per stage'):
            score(R50_INITIAL)
    with pytest.raises(ConfigError, match='multi_block_ratio: must be a list of numbers'):
        MadNas(multi_block_ratio='00116')


def test_ensemble_and_random():
    members = [dict(type='madnas', ratio=2.0), dict(type='deepmad')]
    expected = 3 * (2 * MadNas()(R50_INITIAL) + DeepMad()(R50_INITIAL))
    assert Ensemble(scores=members, ratio=3)(R50_INITIAL) == pytest.approx(expected)
    with pytest.raises(ConfigError, match='not empty'):
        Ensemble(scores=[])
    draws = [RandomScore(seed=1)(R50_INITIAL) for _ in range(2)]
    assert draws[0] == draws[1] and 0 <= draws[0] < 100
    score = RandomScore(seed=1)
    assert score(R50_INITIAL) != score(R50_INITIAL)


def test_forward_entropy_is_madnas_where_there_are_no_borders():
    """1x1 convolutions see no borders: measured and computed log-terms agree to sampling noise."""
    blocks = [{**stem(64), 'k': 1, 'in': 48}] + [
        super_block('SuperResK1KXK1', 64, 64, 64, 2, k=1, s=s) for s in (2, 2, 2, 2)
    ]
    structure = parse_structure(blocks)
    weights = [0, 0, 0, 0, 1]
    measured = ForwardEntropy(multi_block_ratio=weights, image_size=64, batch_size=16, repeats=2)
    samples = measured.samples(structure)
    assert samples == measured.samples(structure) and samples[0] != samples[1]
    assert measured(structure) == pytest.approx(MadNas(multi_block_ratio=weights)(structure), rel=0.01)


def test_zen_score():
    """Same seed, same score; deeper networks move more; seeds differ by noise only."""
    short, deep = (parse_structure(five_stages('SuperResK1KXK1', layers)) for layers in (1, 3))
    score = ZenScore(image_size=32, batch_size=8, repeats=4)
    samples = score.samples(deep)
    assert samples == score.samples(deep)
    assert max(samples) - min(samples) < 0.2 * abs(score(deep))
    assert score(deep) > score(short) + 5


def test_zen_score_of_one_convolution_by_hand():
    structure, gamma = parse_structure([{**stem(4), 'k': 1, 's': 1}]), 0.5
    found = ZenScore(image_size=6, batch_size=5, gamma=gamma, seed=7)(structure)
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(5, 3, 6, 6, generator=generator)
    disturbed = x + gamma * torch.randn(5, 3, 6, 6, generator=generator)
    norm = torch.nn.BatchNorm2d(4, eps=1e-3)
    weights = torch.randn(4, 3, 1, 1, generator=generator)
    first, second = (norm(torch.nn.functional.conv2d(image, weights)).relu() for image in (x, disturbed))
    distance = (first - second).abs().sum((1, 2, 3)).mean()
    assert found == pytest.approx(distance.log().item() + 0.5 * norm.running_var.mean().log().item(), rel=1e-5)
