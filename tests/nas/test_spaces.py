"""Mutations stay inside their space, and move everything that may move."""

import random

import pytest

from mmdet.nas import parse_structure
from mmdet.nas.spaces import SpaceK1KXK1, SpaceQuantK1DWK1, round_to_8
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
