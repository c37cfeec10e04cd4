"""Structures: parsing, files, stages, errors."""

import json
import pickle

import pytest

from mmdet.archs.blocks import Conv, Stage, SuperResK1KX, conv_layers
from mmdet.archs.files import read_network
from mmdet.archs.zennas import parse_zen_structure
from mmdet.errors import ConfigError, DataError
from mmdet.nas import (
    Block,
    BlockMemo,
    StructureEntry,
    build_structure,
    describe,
    families,
    family_of,
    is_quantised,
    load_structure,
    load_structures,
    parse_structure,
    save_structures,
    stage_ends,
    stages,
    structure_to_dicts,
    units_of,
)
from mmdet.registry import NAS_BLOCKS

from ..nas.cases import FAMILIES, NUMBERS, PUBLISHED, R50_INITIAL, five_stages, stem, super_block


@pytest.mark.parametrize('text', ['[]', '{"structures": []}', '[[]]', '{"best_structures": [[]]}'])
def test_no_structure(tmp_path, text):
    path = tmp_path / 'empty.json'
    path.write_text(text)
    with pytest.raises(DataError, match=r'empty\.json.*(no structure|at least one block)'):
        load_structures(path)


def test_published_files_are_all_there():
    assert len(PUBLISHED) == 39
    assert set(NUMBERS) <= set(PUBLISHED)
    maedet = PUBLISHED['maedet_s']
    assert (maedet.task, maedet.image_size, maedet.frames) == ('detection', 480, None)
    assert describe(maedet.blocks) == '32 | 48/32·k5·L2 | 272/120·k3·L4 | 1024/80·k5·L10 | 2048/240·k3·L10'
    assert describe(PUBLISHED['E3D_S'].blocks[:3]) == '24 | 24/32·k5·L3 | 48/96·k3x3·L6'
    assert PUBLISHED['tinynas_L25_k1kx'].blocks[0].in_channels == 12  # behind Focus
    assert PUBLISHED['mixed7d0G'].blocks[1].bits_w == (5, 5, 5, 5, 5, 5, 4, 4, 4)


@pytest.mark.parametrize('name', sorted(NUMBERS))
def test_stages_of_published_structures(name):
    entry, numbers = PUBLISHED[name], NUMBERS[name]
    found = stages(entry.blocks, entry.image_size)
    assert [stage.end for stage in found] == numbers['stage_ends']
    assert [stage.units for stage in found] == numbers['stage_units']
    assert [stage.layers for stage in found] == numbers['stage_layers']


def test_stage_sides_are_floored():
    assert [stage.side for stage in stages(PUBLISHED['E3D_L'].blocks, 312)] == [156, 78, 39, 19, 9]


@pytest.mark.parametrize('name', sorted(FAMILIES))
def test_dicts_and_back(name):
    dicts = five_stages(name, **FAMILIES[name])
    structure = parse_structure(dicts)
    assert parse_structure(structure_to_dicts(structure)) == structure
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert {hash(structure)} == {hash(parse_structure(dicts))}
    assert build_structure(dicts) == build_structure(structure) == structure


def test_every_family_has_a_case():
    assert set(families()) == set(FAMILIES) | {'ConvKXBNRELU', 'Conv3DKXBNRELU'}


def test_a_family_is_called_by_its_registered_name():
    """A subclass has the name under which it is registered, not that of its parent."""

    @NAS_BLOCKS.register_module('SuperOwn')
    class Own(SuperResK1KX):
        pass

    try:
        structure = parse_structure([super_block('SuperOwn', 8, 8, 8)])
        assert structure[0].type == structure_to_dicts(structure)[0]['class'] == 'SuperOwn'
        assert family_of('SuperOwn') is Own
    finally:
        NAS_BLOCKS.module_dict.pop('SuperOwn')
        family_of.cache_clear()


def test_units_of_a_bottleneck():
    first, second = units_of(Block('SuperResK1KXK1', 8, 24, 5, 2, 2, 16))
    shapes = [[(c.in_channels, c.out_channels, c.kernel, c.stride) for c in unit.convs] for unit in (first, second)]
    assert shapes == [[(8, 16, 1, 1), (16, 16, 5, 2), (16, 24, 1, 1)], [(24, 16, 1, 1), (16, 16, 5, 1), (16, 24, 1, 1)]]
    assert first.residual and first.pooled and first.projection[:3] == (8, 24, 1)
    assert second.residual and not second.pooled and second.projection is None
    # always projected at a stage's start, even where the channels stay; basic units are not
    assert units_of(Block('SuperResK1KXK1', 24, 24, 3, 1, 1, 16))[0].projection is not None
    assert units_of(Block('SuperResK1KX', 24, 24, 3, 2, 1, 16))[0].projection is None


def test_units_of_depthwise_families():
    first, second = units_of(Block('SuperResK1DWSEK1', 8, 24, 5, 2, 2, 100))
    assert not first.residual and second.residual
    assert [conv.depthwise for conv in first.convs] == [False, True, False]
    assert first.se_channels == 8 * (25 // 8) == 24
    assert units_of(Block('SuperResK1DWSEK1', 8, 8, 5, 1, 1, 16))[0].se_channels == 8
    (unit,) = units_of(Block('SuperRes3DK1DWK1', 8, 8, 3, 2, 1, 16, 5))
    assert [conv.taps for conv in unit.convs] == [1, 45, 1] and unit.pooled


@pytest.mark.parametrize(
    ('layout', 'expected'),
    [
        (lambda blocks: blocks, 1),
        (lambda blocks: [blocks, blocks], 2),
        (lambda blocks: {'space_arch': 'CnnNet', 'best_structures': [blocks]}, 1),
        (lambda blocks: [{'structure': blocks, 'acc': 1.5, 'score': 1.5, 'flops': 2e9}] * 3, 3),
        (lambda blocks: {'popu_structure_list': [repr(blocks)] * 2, 'popu_acc_list': [1, 2]}, 2),
        (lambda blocks: {'about': '', 'published_structures': [{'name': 'a', 'image_size': 96, 'blocks': blocks}]}, 1),
    ],
)
@pytest.mark.parametrize('write', [repr, json.dumps])
def test_layouts(tmp_path, layout, expected, write):
    path = tmp_path / 'net.txt'
    path.write_text(write(layout(structure_to_dicts(R50_INITIAL))))
    entries = load_structures(path)
    assert [entry.blocks for entry in entries] == [R50_INITIAL] * expected
    if expected == 1:
        assert entries[0].name in ('net', 'a')


def test_text_of_numpy_2(tmp_path):
    path = tmp_path / 'nas_info.txt'
    path.write_text(
        f"[{{'structure': {structure_to_dicts(R50_INITIAL)!r}, 'score': np.float64(55.5), 'layers': np.int64(16)}}]"
    )
    assert load_structures(path)[0].info == {'score': 55.5}


def test_first_version_and_damo_yolo_names(tmp_path):
    """Class names with Conv, inner_class, and 8 bits everywhere on full-precision networks."""
    blocks = [
        stem(32, nbitsA=8, nbitsW=8, s=1),
        super_block('SuperResConvK1KX', 32, 64, 24, 2, inner_class='ResConvK1KX', nbitsA=[8] * 4, nbitsW=[8] * 4),
    ]
    path = tmp_path / 'v1.txt'
    path.write_text(repr(blocks))
    assert load_structure(path) == (Block('ConvKXBNRELU', 3, 32, 3, 1), Block('SuperResK1KX', 32, 64, 3, 2, 2, 24))


@pytest.mark.parametrize('count', [1, 2, 5])
def test_files_lengthened_by_hand_have_another_number_of_eights(count):
    """DAMO-YOLO's networks of 45 layers and its nano ones; what is not 8 bits must be told for each convolution."""
    block = super_block('SuperResConvK1KX', 32, 64, 24, 2)
    parsed = parse_structure([stem(32, nbitsA=8, nbitsW=8), dict(block, nbitsA=[8] * count, nbitsW=[8] * count)])
    assert parsed[1] == Block('SuperResK1KX', 32, 64, 3, 2, 2, 24)
    with pytest.raises(DataError, match='nbitsA: must be a list of 4 integers'):
        parse_structure([stem(32), dict(block, nbitsA=[7] * count, nbitsW=[8] * count)])


def test_damo_yolo_entries_are_read_as_searched(tmp_path):
    path = tmp_path / 'facts.json'
    blocks = [stem(32, s=1), super_block('SuperResK1KX', 32, 64, 24)]
    path.write_text(json.dumps({'damo_yolo_structures': [{'name': 'T', 'wrapper': 'TinyNAS_res', 'blocks': blocks}]}))
    (entry,) = load_structures(path)
    assert (entry.blocks[0].in_channels, entry.image_size) == (12, 320)


def test_zennas_blocks(tmp_path):
    blocks = [
        {'cls': 'SuperConvK3BNRELU', 'in': 3, 'out': 16, 's': 2, 'sub_layers': 2},
        {'cls': 'SuperResK1K7K1', 'in': 16, 'out': 40, 's': 2, 'btn': 24, 'sub_layers': 3},
        {'cls': 'SuperResK5K5', 'in': 40, 'out': 48, 's': 1, 'btn': 32, 'sub_layers': 1},
        {'cls': 'SuperResIDWE4K7', 'in': 48, 'out': 96, 's': 2, 'btn': 88, 'sub_layers': 5},
    ]
    path = tmp_path / 'zen.json'
    path.write_text(json.dumps(blocks))
    assert describe(load_structure(path)) == '16 | 16 | 40/24·k7·L6 | 48/32·k5·L2(s1) | 96/384·k7·L10'
    blocks[2]['cls'] = 'SuperResK5K3'
    path.write_text(json.dumps(blocks))
    with pytest.raises(DataError, match=r'block 2: cls: must be one of .*Received: .SuperResK5K3'):
        load_structure(path)


def test_save_and_load(tmp_path):
    path = tmp_path / 'best_structure.json'
    entries = [
        StructureEntry('first', R50_INITIAL, 224, None, 'classification', {'score': 55.5}),
        StructureEntry('second', PUBLISHED['E3D_S'].blocks, 160, 13),
    ]
    save_structures(path, entries)
    assert load_structures(path) == entries
    assert load_structure(path, 'second') == entries[1].blocks
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match=r"structure_name: must be one of \['first', 'second'\]. Received: 'third'"):
        load_structure(path, 'third')


@pytest.mark.parametrize(
    ('index', 'change', 'message'),
    [
        (1, {'btn': 0}, r'block 1: btn: must be an integer in 1..1000000. Received: 0'),
        (1, {'L': 2.0}, r'block 1: L: must be an integer in 1..1000000. Received: 2.0'),
        (1, {'k': 4}, r'block 1: k: must be one of .*Received: 4'),
        (1, {'s': 3}, r'block 1: s: must be one of \[1, 2\]. Received: 3'),
        (1, {'in': 9}, r'block 1: in: must equal out of block 0, which is 8. Received: 9'),
        (1, {'out': True}, r'block 1: out: must be an integer in 1..1000000. Received: True'),
        (1, {'class': 'SuperResXXX'}, r"block 1: class: must be one of \[.*Received: 'SuperResXXX'"),
        (1, {'depth': 3}, r'block 1: depth: unknown key; SuperResK1KXK1 takes .*Received: 3'),
        (1, {'nbitsA': [5, 5]}, r'block 1: nbitsA: must be a list of 6 integers in 2..8'),
        (1, {'nbitsA': [5] * 6}, r'block 1: nbitsA: nbitsA and nbitsW must be given together'),
        (1, {'act': 'tanh'}, r'block 1: act: must be one of'),
        (0, {'nbitsW': 9, 'nbitsA': 8}, r'block 0: nbitsW: must be an integer in 2..8. Received: 9'),
        (0, {'p': 0}, r'block 0: p: padding must keep the size'),
        (0, {'g': 2}, r'block 0: g: must divide in \(3\) and out \(8\). Received: 2'),  # divides out only
        (0, {'g': 3}, r'block 0: g: must divide in \(3\) and out \(8\). Received: 3'),  # divides in only
        (0, {'k': 33}, r'block 0: k: must be one of'),
        (0, {'nbitsA': [8], 'nbitsW': 1}, r'block 0: nbitsW: must be an integer in 2..8. Received: 1'),
        (0, {'L': 2}, r'block 0: L: unknown key'),
        (1, {'g': 1}, r'block 1: g: unknown key'),
        (1, {'kt': 3}, r'block 1: kt: unknown key'),
        (1, {'se_ratio': 0.5}, r'block 1: se_ratio: unknown key'),
        (1, {'nbitsA': 5, 'nbitsW': 5}, r'block 1: nbitsA: must be a list of 6 integers'),
        (1, {'nbitsW': [5] * 6}, r'block 1: nbitsA: nbitsA and nbitsW must be given together. Received: None'),
        (1, {'force_resproj_skip': True}, r'block 1: force_resproj_skip: only False is supported'),
        (2, {'in': 8}, r'block 2: in: must equal out of block 1, which is 16. Received: 8'),
    ],
)
def test_wrong_blocks(tmp_path, index, change, message):
    blocks = five_stages('SuperResK1KXK1')
    blocks[index].update(change)
    path = tmp_path / 'net.json'
    path.write_text(json.dumps([blocks]))
    with pytest.raises(DataError, match=r'net\.json: structure 0 \(net\), ' + message):
        load_structures(path)


def test_missing_key_and_mixed_dimensions():
    blocks = five_stages('SuperResK1KXK1')
    del blocks[2]['btn']
    with pytest.raises(
        DataError, match=r"block 2: btn: missing; SuperResK1KXK1 needs \['class', 'in', 'out', 'k', 'L', 'btn'\]"
    ):
        parse_structure(blocks)
    with pytest.raises(DataError, match='block 1: class: 2-D and 3-D families cannot be mixed'):
        parse_structure([stem(8), super_block('SuperRes3DK1DWK1', 8, 8, 8, kt=3)])
    with pytest.raises(DataError, match='nbitsA: missing; SuperQuantResK1DWK1 needs bit widths'):
        parse_structure([stem(8), super_block('SuperQuantResK1DWK1', 8, 8, 8)])


@pytest.mark.parametrize(
    'text',
    ['{', '__import__("os").system("true")', '[' * 5000, 'hello', '[{"class": 1}]', '{"a": 1}', '3', '"[1"', '\x00'],
)
def test_broken_files(tmp_path, text):
    path = tmp_path / 'broken.txt'
    path.write_text(text)
    with pytest.raises(DataError, match='broken.txt'):
        load_structures(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(DataError, match='no such file'):
        load_structures(tmp_path / 'none.json')
    (tmp_path / 'binary.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataError, match='not UTF-8'):
        load_structures(tmp_path / 'binary.json')


def test_memo_computes_once_and_stays_small():
    calls = []
    memo = BlockMemo(lambda key: calls.append(key) or key * 2, limit=3)
    assert [memo[i] for i in (1, 1, 2, 3)] == [2, 2, 4, 6] and calls == [1, 2, 3]
    assert memo[4] == 8 and dict(memo) == {4: 8}


@pytest.mark.parametrize(
    ('extra', 'changed'),
    [
        ({}, {}),
        ({'s': 1, 'p': 1}, {'stride': 1}),
        ({'k': 31, 'p': 15}, {'kernel': 31}),
        ({'in': 8, 'g': 4}, {'in_channels': 8, 'groups': 4}),
        ({'act': 'silu'}, {'act': 'silu'}),
        ({'nbitsA': 3, 'nbitsW': [8]}, {'bits_a': (3,), 'bits_w': (8,)}),
        ({'nbitsA': 8, 'nbitsW': 8}, {}),  # full precision in the files of LightNAS 1
        ({'nbitsA': [], 'nbitsW': None, 'force_resproj_skip': False, 'inner_class': 'x'}, {}),
    ],
)
def test_stems(extra, changed):
    assert parse_structure([stem(8, **extra)]) == (Block('ConvKXBNRELU', 3, 8, 3, 2)._replace(**changed),)


def test_defaults_and_super_blocks():
    """The stride is 1 where a block names none; 8 bits everywhere stay with a quantised family."""
    (block,) = parse_structure(
        [{'class': 'SuperResK1DWSEK1', 'in': 8, 'out': 16, 'k': 5, 'L': 3, 'btn': 24, 'se_ratio': 1}]
    )
    assert block == Block('SuperResK1DWSEK1', 8, 16, 5, 1, 3, 24, 1, (), (), 1, None, 1)
    (block,) = parse_structure([super_block('SuperQuantResConvK1DWK1', 8, 8, 8, nbitsA=[8] * 3, nbitsW=[8] * 3)])
    assert (block.type, block.bits_a) == ('SuperQuantResK1DWK1', (8, 8, 8))
    (block,) = parse_structure([super_block('SuperRes3DK1DWK1', 8, 8, 8, kt=5)])
    assert block.kt == 5
    for value in (0, 1.01, True, '1'):
        with pytest.raises(DataError, match=r'se_ratio: must be a number in \(0, 1\]'):
            parse_structure([super_block('SuperResK1DWSEK1', 8, 8, 8, se_ratio=value)])
    mixed = [stem(8), super_block('SuperResK1DWK1', 8, 8, 8, nbitsA=[8, 8, 7], nbitsW=[8] * 3)]
    assert parse_structure(mixed)[1].bits_a == (8, 8, 7)  # not all 8: quantised


def test_dicts_leave_defaults_out():
    stem_block, block = Block('ConvKXBNRELU', 4, 8, 3, 2), Block('SuperResK1DWSEK1', 8, 8, 3, 1, 2, 16)
    assert structure_to_dicts([stem_block, block]) == [
        {'class': 'ConvKXBNRELU', 'in': 4, 'out': 8, 'k': 3, 's': 2},
        {'class': 'SuperResK1DWSEK1', 'in': 8, 'out': 8, 'k': 3, 's': 1, 'L': 2, 'btn': 16},
    ]
    full = [stem_block._replace(groups=4, act='relu6', bits_a=(4,), bits_w=(5,)), block._replace(se_ratio=0.5)]
    first, second = structure_to_dicts(full)
    assert (first['g'], first['act'], first['nbitsA'], first['nbitsW'], second['se_ratio']) == (4, 'relu6', 4, 5, 0.5)
    (video,) = structure_to_dicts([Block('Conv3DKXBNRELU', 3, 8, 3, 2, kt=5)])
    assert video['kt'] == 5
    (quantised,) = structure_to_dicts([Block('SuperQuantResK1DWK1', 8, 8, 3, 1, 1, 8, 1, (3, 4, 5), (6, 7, 8))])
    assert (quantised['nbitsA'], quantised['nbitsW']) == ([3, 4, 5], [6, 7, 8])


def test_stages_by_hand():
    """A stage ends before a block of stride 2; sides are rounded down: 30, 15, 7, 7."""
    structure = parse_structure(
        [
            stem(8),
            super_block('SuperResK1KX', 8, 16, 8, 2, s=1),
            super_block('SuperResK1KX', 16, 24, 8, 3),
            super_block('SuperResK1KX', 24, 32, 8, 1, s=1),
            {'class': 'ConvKXBNRELU', 'in': 32, 'out': 40, 'k': 1},
        ]
    )
    assert stage_ends(structure) == [1, 4]
    assert stages(structure, 31) == [Stage(1, 3, 5, 16, 15), Stage(4, 8, 14, 40, 7)]
    assert stages(structure)[0].side == 112
    assert stage_ends(structure[:1]) == [0] and stage_ends([]) == []
    assert describe(structure) == '8 | 16/8·k3·L2(s1) | 24/8·k3·L3 | 32/8·k3·L1(s1) | 40'
    assert not is_quantised(structure) and is_quantised((structure[0]._replace(bits_a=(8,)),))
    assert [conv_layers(block) for block in structure] == [1, 4, 6, 2, 1]


def test_bits_of_units():
    """Unit by unit, convolution by convolution; projections have none."""
    bits = dict(nbitsA=[2, 3, 4, 5, 6, 7], nbitsW=[7, 6, 5, 4, 3, 2])
    for name in ('SuperQuantResK1DWK1', 'SuperResK1KXK1'):
        (block,) = parse_structure([super_block(name, 8, 8, 16, 2, s=1, **bits)])
        first, second = units_of(block)
        assert [(conv.bits_a, conv.bits_w) for conv in (*first.convs, *second.convs)] == list(zip(*bits.values()))
    assert first.projection[-2:] == (0, 0) and second.projection is None
    basic = dict(nbitsA=[2, 3, 4, 5], nbitsW=[5, 4, 3, 2])
    for name in ('SuperResK1KX', 'SuperResKXKX'):
        (block,) = parse_structure([super_block(name, 8, 8, 16, 2, s=1, **basic)])
        found = [(conv.bits_a, conv.bits_w) for unit in units_of(block) for conv in unit.convs]
        assert found == [(2, 5), (3, 4), (4, 3), (5, 2)]


def test_units_of_basic_families():
    first, second = units_of(Block('SuperResKXKX', 8, 24, 5, 2, 2, 16))
    assert [tuple(conv[:4]) for conv in first.convs] == [(8, 16, 5, 1), (16, 24, 5, 2)]
    assert [tuple(conv[:4]) for conv in second.convs] == [(24, 16, 5, 1), (16, 24, 5, 1)]
    assert first.pooled and first.projection[:4] == (8, 24, 1, 1) and second.projection is None and not second.pooled
    first, _ = units_of(Block('SuperResK1KX', 8, 24, 5, 2, 2, 16))
    assert [tuple(conv[:4]) for conv in first.convs] == [(8, 16, 1, 1), (16, 24, 5, 2)]
    (unit,) = units_of(Block('Conv3DKXBNRELU', 4, 8, 3, 2, kt=5, groups=4))
    assert unit.convs == (Conv(4, 8, 3, 2, 4, 5),) and not unit.residual
    assert [Conv(8, 8, 1, 1, groups).depthwise for groups in (1, 4, 8)] == [False, False, True]
    assert Conv(8, 4, 3, 1, 2, 5).fan_in_channels == 4 and Conv(1, 4, 3).depthwise is False
    with pytest.raises(KeyError, match="no block family 'X'; registered are"):
        family_of('X')


class TestOneReader:
    """Files and the values of a config are searched by the same rules."""

    ONE = structure_to_dicts(R50_INITIAL)
    TWO = five_stages('SuperResKXKX')

    @pytest.mark.parametrize(
        ('value', 'names'),
        [
            (ONE, ['net']),
            ([ONE, TWO], ['net[0]', 'net[1]']),
            ([dict(name='a', blocks=ONE), dict(blocks=TWO)], ['a', 'net[1]']),
            (dict(name='a', structures=[ONE]), ['a']),
            (dict(popu_structure_list=[TWO], best_structures=[dict(name='b', structure=ONE)]), ['b', 'net[1]']),
            (dict(pareto=[TWO], best_structures=[ONE]), ['net']),  # other keys beside known ones are not searched
            (dict(score=1.5, network=dict(backbone=ONE)), ['net']),  # without known keys all are
            (dict(front=[TWO], best=ONE), ['net[0]', 'net[1]']),
            (dict(best_structures=[repr(ONE), json.dumps(TWO)]), ['net[0]', 'net[1]']),
        ],
    )
    def test_forms(self, value, names, tmp_path):
        path = tmp_path / 'net.json'
        path.write_text(json.dumps(value))
        entries = load_structures(path)
        assert [entry.name for entry in entries] == names
        assert entries[0].blocks == build_structure(value) == read_network(value) == R50_INITIAL
        for entry in entries:
            name = entry.name.replace('net', 'structure')  # values have no file to be called after
            assert build_structure(value, name) == entry.blocks

    @pytest.mark.parametrize('value', [{}, {'a': 1}, {'a': ['b c']}, 3, None, 'x y', [[1]], [{'in': 3}]])
    def test_nothing_found(self, value, tmp_path):
        path = tmp_path / 'net.json'
        path.write_text(json.dumps(value))
        with pytest.raises(DataError, match='net.json'):
            load_structures(path)
        with pytest.raises(DataError):
            build_structure(value)
        with pytest.raises(ConfigError):
            read_network(value)

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            ("[{'class': 0x" + 'f' * 5000 + '}]', 'a whole number beyond 64 bits'),
            ("[{'class': 'ConvKXBNRELU', 1: 2}]", 'missing; ConvKXBNRELU needs'),
            ("{'name': 3, 'blocks': [{'class': 'ConvKXBNRELU', 'in': 3, 'out': 8, 'k': 3}]}", 'name: must be a text'),
            ("[{'class': 'ConvKXBNRELU', 'in': 3, 'out': 10000000, 'k': 3}]", 'out: must be an integer in 1..1000000'),
            (
                "[{'cls': 'SuperConvK3BNRELU', 'in': 3, 'out': 8, 'sub_layers': 1000000000}]",
                'sub_layers: must be an integer',
            ),
            ("[{'cls': 'SuperConvK" + '9' * 5000 + "BNRELU', 'in': 3, 'out': 8}]", 'cls: must be one of'),
        ],
    )
    def test_numbers_and_keys_of_literals(self, content, message, tmp_path):
        path = tmp_path / 'net.txt'
        path.write_text(content)
        with pytest.raises(DataError, match=f'net.txt: .*{message}'):
            load_structures(path)

    def test_facts(self, tmp_path):
        facts = dict(image_size=96, frames=3, task='detection', score=2.5, budgets=dict(flops=1.0), note='n', other=1)
        path = tmp_path / 'net.json'
        path.write_text(json.dumps([dict(blocks=self.ONE, **facts)]))
        (entry,) = load_structures(path)
        assert (entry.image_size, entry.frames, entry.task) == (96, 3, 'detection')
        assert entry.info == dict(score=2.5, budgets=dict(flops=1.0), note='n')
        for value in (0, True, '96', 1.5):
            path.write_text(json.dumps([dict(blocks=self.ONE, image_size=value)]))
            with pytest.raises(DataError, match=r'structure 0 \(net\): image_size: must be an integer >= 1. Received'):
                load_structures(path)

    def test_an_image_size_of_its_own_comes_before_that_of_damo_yolo(self, tmp_path):
        path = tmp_path / 'net.json'
        path.write_text(json.dumps(dict(wrapper='TinyNAS_csp', image_size=640, blocks=self.TWO)))
        (entry,) = load_structures(path)
        assert (entry.image_size, entry.blocks[0].in_channels) == (640, 12)

    def test_errors_name_the_place(self):
        broken = [dict(block, k=2) for block in self.ONE]
        with pytest.raises(ConfigError, match='^structure, block 0: k: must be one of'):
            read_network(broken)
        with pytest.raises(ConfigError, match=r'^structure 1 \(b\), block 0: k: must be one of'):
            read_network([dict(name='a', blocks=self.ONE), dict(name='b', blocks=broken)])
        with pytest.raises(
            ConfigError, match=r"structure, block 0: class: a 3-D network takes \['Conv3DKXBNRELU', 'SuperRes3"
        ):
            read_network(R50_INITIAL, dims=3)
        assert read_network(R50_INITIAL, dims=2) is R50_INITIAL


def test_zennas_mistakes():
    good = {'cls': 'SuperConvK3BNRELU', 'in': 3, 'out': 16, 's': 2}
    for change, message in (
        ({'sub_layers': 0}, 'block 0: sub_layers: must be an integer in 1..1000000. Received: 0'),
        ({'sub_layers': True}, 'block 0: sub_layers: must be an integer in 1..1000000. Received: True'),
        ({'k': 3}, 'block 0: k: unknown key'),
        ({'cls': 'SuperConvK3'}, 'block 0: cls: must be one of'),
    ):
        with pytest.raises(DataError, match=message):
            parse_zen_structure([{**good, **change}])
    with pytest.raises(DataError, match='record x, block 1: a ZenNAS block needs the key cls'):
        parse_zen_structure([good, stem(8)], record='record x')
    assert parse_zen_structure([{**good, 'sub_layers': 3}]) == (
        Block('ConvKXBNRELU', 3, 16, 3, 2), Block('ConvKXBNRELU', 16, 16, 3), Block('ConvKXBNRELU', 16, 16, 3),
    )  # fmt: skip
