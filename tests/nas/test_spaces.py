"""Mutations stay inside their space, and move everything that may move."""

import random

import pytest

from mmdet.nas import Block, parse_structure
from mmdet.nas.spaces import SpaceK1KXK1, SpaceQuantK1DWK1, round_to_8
from mmdet.nas.spaces.dense import bounded_btn
from mmdet.registry import NAS_SPACES
from mmdet.utils import ConfigError
from tests.nas.cases import R50_INITIAL, ROOT

CONFIGS = ROOT / 'configs' / 'tinynas'
STARTS = {
    'space_k1kxk1': 'r50',
    'space_k1kx': 'k1kx',
    'space_kxkx': 'kxkx',
    'space_k1dwk1': 'mbv2',
    'space_3d_k1dwk1': 'e3d',
    'space_quant_k1dwk1': 'quant',
}


def start_of(name: str):
    from mmengine.config import Config

    path = f'_base_/{STARTS[name]}_start.py' if name in STARTS else 'classification/deepmad_29M_224.py'
    return parse_structure(Config.fromfile(CONFIGS / path).structure)


@pytest.mark.parametrize('value, rounded', [(0, 8), (11.9, 8), (12, 16), (20, 16), (100, 96)])
def test_round_to_8(value, rounded):
    assert round_to_8(value) == rounded


@pytest.mark.parametrize('name', [*STARTS, 'space_k1dwsek1'])
def test_walk_stays_inside(name):
    start = start_of(name)
    space = NAS_SPACES.get(name)(image_size=224)
    space.start(start, 60)
    rng = random.Random(0).random
    structure, moved = start, set()
    for _ in range(3000):
        child = space.mutate(structure, rng)
        assert parse_structure_like(child)
        moved |= {i for i, (a, b) in enumerate(zip(structure, child)) if a[2:] != b[2:]}
        structure = child
        for i, block in enumerate(child):
            assert (block.type, block.stride) == (start[i].type, start[i].stride)
            if space.growth and i >= 2:
                assert block.out_channels <= space.growth * child[i - 1].out_channels
            if block.btn:
                assert block.out_channels <= max(space.channel_limit, start[i].out_channels)
                assert 1 <= block.layers <= space.depth_caps[i]
                assert (block.kt, block.kernel) in {*space.kernels, (start[i].kt, start[i].kernel)}
    assert moved == {i for i, block in enumerate(start) if block.btn or i == 0}
    assert sum(b.layers * (2 if name in ('space_k1kx', 'space_kxkx') else 3) for b in structure if b.btn) <= 60


def parse_structure_like(structure) -> bool:
    """The block dicts of a structure parse back to it."""
    from mmdet.nas import structure_to_dicts

    return parse_structure(structure_to_dicts(structure)) == structure


def test_depth_caps_are_the_reference_s():
    space = SpaceK1KXK1()
    space.start(R50_INITIAL, 49)
    assert space.depth_caps[1:] == [3, 4, 4, 4, 4]
    space.start(R50_INITIAL, 91)
    assert space.depth_caps[2:] == [7, 7, 7, 7]


def test_the_reference_never_moves_its_last_block():
    space = SpaceK1KXK1(reference=True)
    space.start(R50_INITIAL, 49)
    rng, structure = random.Random(0).random, R50_INITIAL
    for _ in range(500):
        structure = space.mutate(structure, rng)
        assert structure[-1][2:] == R50_INITIAL[-1][2:]


def test_kernels_fit_small_images():
    space = SpaceK1KXK1(image_size=64)  # the last block reads 4 x 4 pixels
    space.start(R50_INITIAL, None)
    assert space.kernel_choices[1] == ((1, 3), (1, 5)) and space.kernel_choices[5] == ((1, 3),)


def test_bits_follow_depth_and_are_shared_by_a_unit():
    start = start_of('space_quant_k1dwk1')
    space = SpaceQuantK1DWK1()
    space.start(start, 60)
    rng, structure = random.Random(3).random, start
    for _ in range(500):
        structure = space.mutate(structure, rng)
        for block in structure[1:-1]:
            for bits in (block.bits_a, block.bits_w):
                assert len(bits) == 3 * block.layers and set(bits) <= {3, 4, 5, 6}
                assert all(len(set(bits[i : i + 3])) == 1 for i in range(0, len(bits), 3))
    assert {bit for block in structure[1:-1] for bit in block.bits_a} != {4}


def test_mistakes_are_explained():
    with pytest.raises(ConfigError, match='block_num'):
        SpaceK1KXK1(block_num=0)
    with pytest.raises(ConfigError, match='block 1: class'):
        SpaceK1KXK1().start(start_of('space_k1dwk1'), None)
    with pytest.raises(ConfigError, match='nbits_list'):
        SpaceQuantK1DWK1(nbits_list=(9,))


# -- single moves, with the random numbers written out -----------------------------------------------------------------------


def draws(*numbers: float):
    """A ``random()`` that gives these numbers; further ones are not expected."""
    return iter(numbers).__next__


def blocks(family: str, *rows: tuple[int, int, int], strides=None, **common) -> tuple[Block, ...]:
    """A stem of 16 channels and super blocks of (out, btn, layers)."""
    found = [Block('Conv3DKXBNRELU' if '3D' in family else 'ConvKXBNRELU', 3, 16, 3, 2)]
    for out, btn, layers in rows:
        convs = {k: (v,) * 3 * layers for k, v in common.items()}
        found.append(Block(family, found[-1].out_channels, out, 3, 2, layers, btn, **convs))
    return tuple(found)


def widths(structure) -> list[tuple[int, int, int]]:
    """(in, out, btn) of each block but the stem."""
    return [(block.in_channels, block.out_channels, block.btn) for block in structure[1:]]


def prepared(space, structure, max_layers=None):
    space.start(structure, max_layers)
    return space


DENSE = blocks('SuperResK1KXK1', (32, 16, 1), (64, 32, 2), (128, 64, 1))


@pytest.mark.parametrize(
    ('i', 'numbers', 'expected'),
    [
        # 13 steps: factors 1.5, 1.25, 0.8, 0.6, 0.5, then -32, -16, -8, -8, 8, 8, 16, 32
        (2, [0.0], [(16, 32, 16), (32, 96, 32), (96, 128, 64)]),  # 64 * 1.5
        (2, [4.5 / 13], [(16, 32, 16), (32, 32, 32), (32, 128, 64)]),  # halved: four times 32 is still 128
        (2, [12.5 / 13], [(16, 32, 16), (32, 96, 32), (96, 128, 64)]),  # + 32
        (2, [5.5 / 13], [(16, 32, 16), (32, 32, 32), (32, 128, 64)]),  # - 32
        (1, [0.0], [(16, 48, 16), (48, 64, 32), (64, 128, 64)]),
        (1, [12.5 / 13], [(16, 64, 16), (64, 64, 32), (64, 128, 64)]),  # as wide as four stems
        (1, [4.5 / 13], [(16, 16, 16), (16, 64, 32), (64, 128, 64)]),  # not below the stem
        (1, [2.5 / 13], [(16, 24, 16), (24, 64, 32), (64, 128, 64)]),  # 25.6 to 24
        # the last: 64 after 64, then what was before gives way
        (3, [4.5 / 13], [(16, 32, 16), (32, 64, 32), (64, 64, 64)]),
        (3, [0.0], [(16, 32, 16), (32, 64, 32), (64, 192, 64)]),
    ],
)
def test_moves_of_channels(i, numbers, expected):
    space = prepared(SpaceK1KXK1(), DENSE)
    assert widths(space._move_out(DENSE, i, draws(*numbers))) == expected


def test_neighbours_give_way():
    """Wider than the next block: it follows. Narrower than the one before: that follows. More than four times: rounded up to a quarter."""
    space = prepared(SpaceK1KXK1(), DENSE)
    assert widths(space._give_way(DENSE, 1, 96)) == [(16, 96, 16), (96, 96, 32), (96, 128, 64)]
    assert widths(space._give_way(DENSE, 3, 48)) == [(16, 32, 16), (32, 48, 32), (48, 48, 64)]
    assert widths(space._give_way(DENSE, 3, 264)) == [(16, 32, 16), (32, 72, 32), (72, 264, 64)]
    assert widths(space._give_way(DENSE, 3, 600)) == [(16, 40, 16), (40, 152, 32), (152, 600, 64)]
    assert widths(space._give_way(DENSE, 1, 8)) == [(16, 8, 16), (8, 32, 32), (32, 128, 64)]  # at most four times 8


def test_a_bottleneck_follows_wide_outputs():
    """Dense: at least a tenth of the output."""
    structure = blocks('SuperResK1KXK1', (64, 8, 1), (256, 8, 1))
    space = prepared(SpaceK1KXK1(), structure)
    assert widths(space._give_way(structure, 2, 120)) == [
        (16, 64, 8),
        (64, 120, 16),
    ]  # 12 to 16, of ties the multiple of 16
    assert [bounded_btn(btn, 80) for btn in (7, 8, 9)] == [8, 8, 9]


@pytest.mark.parametrize(
    ('i', 'numbers', 'btn'),
    [
        (2, [0.0], 48),  # 32 * 1.5
        (2, [12.5 / 13], 64),  # + 32: at most the output
        (2, [4.5 / 13], 16),
        (2, [5.5 / 13], 8),  # - 32: 8, a tenth of 64 is less
        (3, [12.5 / 13], 96),
        (3, [5.5 / 13], 32),
    ],
)
def test_moves_of_dense_bottlenecks(i, numbers, btn):
    space = prepared(SpaceK1KXK1(), DENSE)
    child = space._move_btn(DENSE, i, draws(*numbers))
    assert child[i] == DENSE[i]._replace(btn=btn) and child[:i] + child[i + 1 :] == DENSE[:i] + DENSE[i + 1 :]


@pytest.mark.parametrize(
    ('numbers', 'out'),
    [([0.0], 24), ([12.5 / 13], 32), ([5.5 / 13], 8), ([4.5 / 13], 8), ([7.5 / 13, 0.99], 8)],
)
def test_moves_of_the_stem(numbers, out):
    """Between 8 and 32, and no wider than block 1; the next block reads it."""
    space = prepared(SpaceK1KXK1(), DENSE)
    child = space._move_stem(DENSE, 0, draws(*numbers))
    assert (child[0].out_channels, child[1].in_channels, child[2:]) == (out, out, DENSE[2:])
    narrow = blocks('SuperResK1KXK1', (24, 16, 1), (64, 32, 2))
    assert prepared(SpaceK1KXK1(), narrow)._move_stem(narrow, 0, draws(12.5 / 13))[0].out_channels == 24
    # where block 1 is narrower than the narrowest stem of the space, the stem is as narrow as block 1
    thin = blocks('SuperResK1DWSEK1', (8, 16, 1), (16, 32, 1))
    assert prepared(NAS_SPACES.get('space_k1dwsek1')(), thin)._move_stem(thin, 0, draws(0.0))[0].out_channels == 8


def test_moves_of_kernels():
    """Choices (1, 3) and (1, 5); the present one is drawn again."""
    space = prepared(SpaceK1KXK1(), DENSE)
    assert space._move_kernel(DENSE, 2, draws(0.0, 0.9)) == DENSE[:2] + (DENSE[2]._replace(kernel=5),) + DENSE[3:]
    assert space._move_kernel(DENSE, 2, draws(0.0, 0.49)) is DENSE
    video = blocks('SuperRes3DK1DWK1', (32, 48, 1))
    child = prepared(NAS_SPACES.get('space_3d_k1dwk1')(), video)._move_kernel(video, 1, draws(0.99))
    assert (child[1].kt, child[1].kernel) == (3, 3)


def test_kernels_that_fit():
    """A kernel needs 1.5 times its side: 5 needs 7.5 pixels, 3 needs 4.5; where none fits the first one stays."""
    structure = blocks('SuperResK1KXK1', (32, 16, 1), (64, 32, 1), (64, 32, 1))
    space = prepared(SpaceK1KXK1(image_size=(64, 16)), structure)  # the smaller side: blocks read 16, 8, 4, 2 pixels
    both, small = ((1, 3), (1, 5)), ((1, 3),)
    assert space.kernel_choices == [both, both, small, small]


@pytest.mark.parametrize(
    ('numbers', 'layers'),
    [([0.0, 0.0], 1), ([0.3, 0.0], 2), ([0.5, 0.0], 4), ([0.8, 0.0], 5)],
)
def test_moves_of_depth(numbers, layers):
    """Steps -2, -1, 1, 2; a second draw below one half keeps the widths."""
    structure = blocks('SuperResK1KXK1', (32, 16, 1), (64, 32, 3))
    space = prepared(SpaceK1KXK1(), structure)
    assert space._move_depth(structure, 2, draws(*numbers)) == structure[:2] + (structure[2]._replace(layers=layers),)


def test_deeper_and_narrower():
    """From 1 to 3 units, and widths by (1/3)^1: 64 to 24, bottleneck 32 to 8. With an exponent of 0 the widths stay."""
    structure = blocks('SuperResK1KXK1', (16, 16, 1), (64, 32, 1))
    space = prepared(SpaceK1KXK1(), structure)
    child = space._move_depth(structure, 2, draws(0.8, 0.5, 1.0))
    assert (child[2].layers, child[2].out_channels, child[2].btn) == (3, 24, 8)
    child = space._move_depth(structure, 2, draws(0.8, 0.7, 0.0))
    assert (child[2].layers, child[2].out_channels, child[2].btn) == (3, 64, 32)


def test_depth_is_capped():
    structure = blocks('SuperResK1KXK1', (32, 16, 1), (64, 32, 3))
    space = prepared(SpaceK1KXK1(), structure, 13)  # (13 - 1) // 3 = 4 units in all, 13 // 3 // 1 = 4 in block 2
    assert (space.max_units, space.depth_caps[1:]) == (4, [3, 4])
    assert space._move_depth(structure, 2, draws(0.8, 0.0))[2].layers == 4
    # block 2 of 3 gets 4 units: 5 in all do not fit, so a second block is tried: stem to 24
    child = space.mutate(structure, draws(0.9, 0.9, 0.5, 0.0, 0.0, 0.0, 0.0))
    narrow, first = structure[0]._replace(out_channels=24), structure[1]._replace(in_channels=24)
    assert child == (narrow, first, structure[2])


def test_mutations_that_change_nothing_are_tried_again():
    space = prepared(SpaceK1KXK1(), DENSE)
    # block 2 and its kernel: the present one twice; then the stem
    assert space.mutate(DENSE, draws(0.5, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0))[0].out_channels == 24
    reference = prepared(SpaceK1KXK1(reference=True), DENSE)
    assert reference.mutate(DENSE, draws(0.7, 0.3, 0.0, 0.0)) == DENSE  # counts


def test_minor_mutations_move_channels_only():
    space = prepared(SpaceK1KXK1(), DENSE)
    rng = random.Random(0).random
    for _ in range(300):
        child = space.mutate(DENSE, rng, True)
        assert [(b.kernel, b.layers) for b in child] == [(b.kernel, b.layers) for b in DENSE]
    assert len(space._minor_movers[1]) == 2 and len(space._movers[1]) == 4


def test_a_child_has_block_num_mutations():
    space = prepared(SpaceK1KXK1(block_num=3, exclude_stem=True), DENSE)
    assert space.movable == (1, 2, 3)
    # three times the bottleneck (third of four moves) of the three blocks, by 1.5
    child = space.child(DENSE, draws(0.0, 0.6, 0.0, 0.4, 0.6, 0.0, 0.9, 0.6, 0.0))
    assert [block.btn for block in child[1:]] == [24, 48, 96]


def test_the_reference_stops_at_its_neighbours():
    """Factors only; between the block before and the next one; within four times."""
    space = prepared(SpaceK1KXK1(reference=True), DENSE)
    assert space._out_range(DENSE, 2) == (32, 128) and space._out_range(DENSE, 1) == (16, 64)
    assert widths(space._move_out(DENSE, 2, draws(0.0))) == [(16, 32, 16), (32, 96, 32), (96, 128, 64)]
    assert space.channel_steps == ((1.5, 0), (1.25, 0), (0.8, 0), (0.6, 0), (0.5, 0)) and space.movable == (0, 1, 2)


def test_ranges_of_damo_yolo():
    """(low, high) of single blocks, in order: what follows is no narrower, what precedes no wider."""
    structure = blocks('SuperResK1KX', (64, 32, 1), (64, 32, 1), (64, 32, 1))
    space = NAS_SPACES.get('space_k1kx')(channel_range_list=(None, None, (48, 96), None))
    space.start(structure, None)
    assert space.out_ranges == [(16, 16), (8, 96), (48, 96), (48, 2048)]
    assert space.kernels == ((1, 3),) and space.moves == ('out', 'btn', 'depth')
    # the next bottleneck is no wider than its input
    wide = blocks('SuperResK1KX', (64, 32, 1), (64, 64, 1))
    assert widths(prepared(NAS_SPACES.get('space_k1kx')(), wide)._give_way(wide, 1, 40)) == [(16, 40, 32), (40, 64, 40)]
    kernels = NAS_SPACES.get('space_kxkx')(kernel_size_list=(5, 3))
    assert kernels.kernels == ((1, 3), (1, 5)) and kernels.moves[-1] == 'kernel'
    assert NAS_SPACES.get('space_kxkx')(kernel_size_list=(5, 3), reference=True).moves[-1] == 'depth'


DEPTHWISE = blocks('SuperResK1DWK1', (32, 64, 1), (64, 192, 1))


def test_moves_of_depthwise_bottlenecks():
    """Ratios 1.5, 2, 2.5, 3, 3.5, 4, 5, 6: any one, or one of those within three places of the present one."""
    space = prepared(NAS_SPACES.get('space_k1dwk1')(), DEPTHWISE)
    assert space._move_btn(DEPTHWISE, 2, draws(0.5, 0.99))[2].btn == 6 * 64
    assert space._move_btn(DEPTHWISE, 2, draws(0.4, 0.99))[2].btn == 5 * 64  # 3 and three places up: 5
    assert space._move_btn(DEPTHWISE, 1, draws(0.4, 0.99))[1].btn == 112  # 2 and three places up: 3.5
    assert space._move_btn(DEPTHWISE, 2, draws(0.4, 0.0))[2].btn == 96  # 1.5
    assert space._nearest(2.2) == 2.0 and space._nearest(100) == 6.0


def test_depthwise_bottlenecks_follow_the_output():
    """From 64 to 96 channels: the ratio of 3 stays, or about the width of 192 (ratio 2)."""
    space = prepared(NAS_SPACES.get('space_k1dwk1')(), DEPTHWISE)
    step = 1.5 / 14  # of 14 steps, the second is the factor 1.5
    assert widths(space._move_out(DEPTHWISE, 2, draws(step, 0.4)))[1] == (32, 96, 288)
    assert widths(space._move_out(DEPTHWISE, 2, draws(step, 0.5)))[1] == (32, 96, 192)


QUANTISED = blocks('SuperQuantResK1DWK1', (32, 64, 1), (64, 192, 2), bits_a=4, bits_w=6)


def test_bits_of_units_move():
    """Block 2 has two units: draws choose activations of unit 0 and 1, then weights of unit 0 and 1; then up or down the list."""
    space = prepared(SpaceQuantK1DWK1(nbits_ratio=0.1), QUANTISED)
    child = space._move_bits(QUANTISED, 2, draws(0.05, 0.5, 0.5, 0.05, 0.4, 0.6))
    assert child[2].bits_a == (5, 5, 5, 4, 4, 4) and child[2].bits_w == (6, 6, 6, 5, 5, 5)
    # nothing chosen: the third of four is, weights of unit 0; 6 is the last of the list
    child = space._move_bits(QUANTISED, 2, draws(0.5, 0.5, 0.5, 0.5, 0.6, 0.9))
    assert child[2].bits_a == (4,) * 6 and child[2].bits_w == (5, 5, 5, 6, 6, 6)
    assert space._move_bits(QUANTISED, 2, draws(0.5, 0.5, 0.5, 0.5, 0.6, 0.4)) is QUANTISED
    assert space._step(8, draws(0.6)) == 5 and space._step(3, draws(0.6)) == 3  # 8 counts as 6
    assert SpaceQuantK1DWK1().nbits_ratio == 0.1 and SpaceQuantK1DWK1(reference=True).nbits_ratio == 0.9


def test_bits_follow_the_depth():
    """New units have the first convolution's bits."""
    block = QUANTISED[2]._replace(bits_a=(3, 3, 3, 5, 5, 5))
    space = prepared(SpaceQuantK1DWK1(), QUANTISED)
    deeper, shallower = space._with_depth(block, 3), space._with_depth(block, 1)
    assert (deeper.layers, deeper.bits_a, deeper.bits_w) == (3, (3, 3, 3, 5, 5, 5, 3, 3, 3), (6,) * 9)
    assert (shallower.layers, shallower.bits_a, shallower.bits_w) == (1, (3, 3, 3), (6, 6, 6))


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('space_k1kxk1', dict(image_size=0), 'space.image_size: must be an integer >= 1'),
        ('space_k1kxk1', dict(image_size=(64, 0)), r'space.image_size: must be an integer >= 1 or \(height, width\)'),
        ('space_k1kxk1', dict(image_size=(64, 64, 64)), 'space.image_size: must be an integer >= 1'),
        ('space_k1kxk1', dict(maximum_channel=0), 'space.maximum_channel: must be an integer >= 1. Received: 0'),
        ('space_k1kxk1', dict(maximum_channel=True), 'space.maximum_channel: must be an integer >= 1. Received: True'),
        ('space_k1kx', dict(channel_range_list=[(9, 8)]), r'channel_range_list: must be None or \[low, high\]'),
        ('space_kxkx', dict(kernel_size_list=[4]), 'kernel_size_list: must be odd integers'),
        ('space_quant_k1dwk1', dict(nbits_list=[1]), r'nbits_list: must be integers in 2\.\.8'),
        ('space_quant_k1dwk1', dict(nbits_ratio=0), r'nbits_ratio: must be a number in \(0, 1\]'),
    ],
)
def test_impossible_arguments(name, options, message):
    with pytest.raises(ConfigError, match=message):
        NAS_SPACES.get(name)(**options)


def test_limits_of_channels():
    space = prepared(SpaceK1KXK1(maximum_channel=136), DENSE)
    assert widths(space._move_out(DENSE, 3, draws(0.0)))[2] == (64, 136, 64)
    assert SpaceK1KXK1().channel_limit == 2048 and NAS_SPACES.get('space_3d_k1dwk1')().channel_limit == 640
    with pytest.raises(ConfigError, match='no block that may change'):
        SpaceK1KXK1(reference=True, exclude_stem=True).start(DENSE[:2])
    with pytest.raises(ConfigError, match='needs a stem and at least one super block'):
        SpaceK1KXK1().start(DENSE[:1])


def test_choices_of_the_spaces():
    """Factors on channels, kernels, ratios, widest output, stem, depth of block 1, blocks outside of the layers budget."""
    plain, small = ((1, 3), (1, 5)), (8, 32)
    six = (2.0, 1.5, 1.25, 0.8, 0.6, 0.5)
    ratios = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    tenths = tuple(i / 10 for i in range(15, 61))
    expected = {
        'space_k1kxk1': ((1.5, 1.25, 0.8, 0.6, 0.5), plain, None, 2048, 4, small, 3, 2),
        'space_k1kx': (six, ((1, 3),), None, 2048, None, small, 2, 2),
        'space_kxkx': (six, ((1, 3),), None, 2048, None, small, 2, 2),
        'space_k1dwk1': (six, plain, (*ratios, 5.0, 6.0), 1280, None, small, 3, 3),
        'space_k1dwsek1': (tuple(i / 10 for i in range(5, 21)), (*plain, (1, 7)), tenths, 1280, None, (16, 32), 3, 3),
        'space_3d_k1dwk1': (six, (*plain, (3, 3)), ratios, 640, None, small, 3, 3),
        'space_quant_k1dwk1': (six, plain, ratios, 1280, None, small, 3, 3),
    }
    names = ('scales', 'kernels', 'ratios', 'channel_limit', 'growth', 'stem_range', 'first_depth', 'unmoved')
    for name, values in expected.items():
        space = NAS_SPACES.get(name)()
        assert tuple(getattr(space, key, None) for key in names) == values, name
        assert space.block_num == 2 and space.minor_moves == ('out', 'btn')
        assert space.channel_steps[len(space.scales) :] == tuple((1.0, s) for s in (-32, -16, -8, -8, 8, 8, 16, 32))
    damo = NAS_SPACES.get('space_k1kx')()
    assert damo.channel_ranges == (None, None, (64, 128), None, (128, 256), (256, 512))
    assert SpaceQuantK1DWK1().nbits == (3, 4, 5, 6) and SpaceQuantK1DWK1(nbits_list=(8, 2, 8)).nbits == (2, 8)
