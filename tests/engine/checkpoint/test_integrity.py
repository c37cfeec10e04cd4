"""Damaged files: each is refused by a CheckpointError that names it, or has the content of the whole one."""

import json
import os
import random
import struct
import zipfile

import pytest
import torch
from mmengine.model import BaseModule
from safetensors.torch import save_file
from torch import nn

from mmdet.engine import load_checkpoint_file, load_into
from mmdet.engine.checkpoint import reading, trusting
from mmdet.engine.checkpoint.saving import find_newest, is_intact
from mmdet.errors import CheckpointError
from mmdet.export.standalone import _read_weights
from mmdet.formats import torch_file

CONTENT = dict(
    meta=dict(epoch=3, iter=7, cfg='x = 1'), state_dict={'a.weight': torch.arange(12.0).view(3, 4), 'b': torch.zeros(0)}
)


def save(path, old_format=False, content=CONTENT):
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    return path


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


def outcome(path, damaged):
    """'refused', 'same' or 'different'; any other exception than CheckpointError fails the test."""
    path.write_bytes(damaged)
    try:
        found = load_checkpoint_file(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return 'refused'
    return 'same' if same(CONTENT, found) else 'different'


def bit_flips(content, count):
    draw = random.Random(5)
    for _ in range(count):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        yield bytes(damaged)


def test_bit_flips_of_a_zip_are_never_read_as_other_content(tmp_path):
    whole, path = save(tmp_path / 'a.pth').read_bytes(), tmp_path / 'b.pth'
    for damaged in bit_flips(whole, 400):
        found = outcome(path, damaged)
        assert found != 'different' and is_intact(path) == (found == 'same')


@pytest.mark.parametrize('length', [1, 30, 512])
def test_zeros_in_a_zip_are_never_read_as_other_content(tmp_path, length):
    whole, path = save(tmp_path / 'a.pth').read_bytes(), tmp_path / 'b.pth'
    for start in range(0, len(whole), 37):
        damaged = (whole[:start] + bytes(length) + whole[start + length :])[: len(whole)]
        found = outcome(path, damaged)
        assert found != 'different' and is_intact(path) == (found == 'same')


@pytest.mark.parametrize('old_format', [False, True])
def test_cut_files_are_refused(tmp_path, old_format):
    whole, path = save(tmp_path / 'a.pth', old_format).read_bytes(), tmp_path / 'b.pth'
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        assert outcome(path, whole[:length]) == 'refused'
        assert not is_intact(path)


def test_bit_flips_of_the_old_format_raise_nothing_else(tmp_path):
    """It has no check sums: what still reads may differ."""
    whole, path = save(tmp_path / 'a.pth', old_format=True).read_bytes(), tmp_path / 'b.pth'
    found = [outcome(path, damaged) for damaged in bit_flips(whole, 300)]
    assert set(found) == {'refused', 'same', 'different'}


@pytest.mark.parametrize('read', [load_checkpoint_file, is_intact])
def test_a_file_that_is_replaced_while_it_is_read(tmp_path, monkeypatch, read):
    """Two runs that save under one name: their reader sees the one file or the other, not parts of both.

    Whether a file is whole is known from one opening of it, however often it is replaced.
    """
    path, other = save(tmp_path / 'a.pth'), tmp_path / 'b.pth'
    check_sums, looks = torch_file.check_sums, []

    def replaces(*args):
        looks.append(args)
        if len(looks) <= times:
            os.replace(save(other, content=dict(CONTENT, more=[len(looks)] * 1000 * len(looks))), path)
        check_sums(*args)

    for module in (torch_file, reading):
        monkeypatch.setattr(module, 'check_sums', replaces)
    times = 1
    assert read(path)
    times = 1000
    if read is is_intact:
        assert is_intact(path)
    else:
        with pytest.raises(CheckpointError, match='is being written by another process'):
            read(path)


def test_the_damaged_member_is_named(tmp_path):
    path = save(tmp_path / 'a.pth')
    content = bytearray(path.read_bytes())
    content[content.find(torch.arange(12.0).numpy().tobytes()) + 9] ^= 64
    path.write_bytes(content)
    message = r'a\.pth: member a/data/0: damaged: its content does not agree with its check sum'
    for options in ({}, dict(trust=True)):
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint_file(path, **options)
    assert load_checkpoint_file(path, mmap=True)['meta'] == CONTENT['meta']  # the large members are left unread
    assert find_newest(tmp_path, warn=pytest.fail) is None


def test_damaged_code_is_not_run_on_trust(tmp_path):
    """The sums of all members are compared before anything is unpickled in full."""
    path = save(tmp_path / 'a.pth', content=dict(state_dict=WrittenByCode(tmp_path / 'ran'), w=torch.arange(12.0)))
    content = bytearray(path.read_bytes())
    content[content.find(torch.arange(12.0).numpy().tobytes()) + 9] ^= 64
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='damaged'):
        load_checkpoint_file(path, trust=True)
    assert not (tmp_path / 'ran').exists()


class WrittenByCode:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, 'w')


def test_a_tensor_marked_as_a_folder_is_refused(tmp_path):
    """torch reads nothing of it, and takes what lay in memory."""
    path = save(tmp_path / 'a.pth')
    content = bytearray(path.read_bytes())
    content[content.rfind(b'a/data/0') - 46 + 38] |= 0x10  # external attributes, in the central directory
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='member a/data/0: damaged: its headers disagree'):
        load_checkpoint_file(path)


def test_a_file_without_check_sums_is_read_with_a_warning(tmp_path, monkeypatch):
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    said = []
    monkeypatch.setattr(reading, 'print_log', lambda text, **_: said.append(text))
    assert same(CONTENT, load_checkpoint_file(path)) and is_intact(path)
    assert len(said) == 1 and 'a.pth: has no check sums' in said[0]


def test_other_zip_files(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as archive:
        archive.writestr('a/notes.txt', 'hello')
    torch.jit.script(nn.Linear(1, 1)).save(tmp_path / 'b.pth')
    with zipfile.ZipFile(save(tmp_path / 'c.pth')) as old, zipfile.ZipFile(tmp_path / 'd.pth', 'w', 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + bytes(100))
    for name, message in [('a', 'none that torch.save wrote'), ('b', 'TorchScript'), ('d', 'without compression')]:
        with pytest.raises(CheckpointError, match=rf'{name}\.pth.*{message}'):
            load_checkpoint_file(tmp_path / f'{name}.pth', trust=True)


@pytest.mark.parametrize('old_format', [False, True])
@pytest.mark.parametrize('mmap', [False, True])
def test_the_content_tells_the_format_not_the_name(tmp_path, old_format, mmap):
    path = save(tmp_path / 'a.safetensors', old_format)
    assert same(CONTENT, load_checkpoint_file(path, mmap=mmap))
    save_file({'w': torch.ones(2)}, tmp_path / 'b.pth')
    assert load_checkpoint_file(tmp_path / 'b.pth', mmap=mmap)['state_dict']['w'].tolist() == [1, 1]


TENSOR = dict(w=dict(dtype='F32', shape=[2], data_offsets=[0, 8]))


@pytest.mark.parametrize(
    'header',
    [
        b'{',
        b'[]',
        b'{"w": 3}',
        b'[' * 100_000,
        json.dumps(dict(w=dict(TENSOR['w'], data_offsets=[0, 80]))),
        json.dumps(dict(w=dict(TENSOR['w'], data_offsets=[8, 0]))),
        json.dumps(dict(w=dict(TENSOR['w'], shape=[2**62, 4]))),
        json.dumps(dict(w=dict(TENSOR['w'], dtype='F31'))),
        json.dumps(dict(TENSOR, __metadata__=[1])),
        json.dumps(dict(TENSOR, __metadata__=dict(meta='[1]'))),
        json.dumps(dict(TENSOR, __metadata__=dict(meta='3'))),
        json.dumps(dict(TENSOR, __metadata__=dict(meta='{'))),
        json.dumps(dict(TENSOR, __metadata__=dict(meta='[' * 100_000))),
        json.dumps(dict(TENSOR, __metadata__=dict(meta='{"a":' * 100_000))),
    ],
)
def test_damaged_headers_of_safetensors(tmp_path, header):
    header = header if isinstance(header, bytes) else header.encode()
    path = tmp_path / 'a.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + bytes(8))
    with pytest.raises(CheckpointError, match=r'a\.safetensors'):
        load_checkpoint_file(path)


def test_safetensors_cut_anywhere(tmp_path):
    save_file({'w': torch.ones(2)}, tmp_path / 'a.safetensors', metadata=dict(meta='{"epoch": 3}'))
    whole = (tmp_path / 'a.safetensors').read_bytes()
    for length in range(len(whole)):
        assert outcome(tmp_path / 'b.safetensors', whole[:length]) == 'refused'


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('weight', 'message'),
    [
        (torch.tensor([[1.0, float('nan')]]), 'weight: is not finite'),
        (torch.tensor([[1.0, float('-inf')]]), 'weight: is not finite'),
        (torch.tensor([[1.0, 1e300]], dtype=torch.float64), 'weight: is not finite'),  # in float32
        (torch.tensor([[1, 2]]), 'weight: holds torch.int64, the model torch.float32'),
        (torch.tensor([[1, 2j]]), 'weight: holds torch.complex64, the model torch.float32'),
        (torch.empty(1, 2, device='meta'), 'weight: holds no plain numbers'),
        (torch.ones(1, 2).to_sparse(), 'weight: holds no plain numbers'),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weight, message):
    model = nn.Linear(2, 1)
    before = model.weight.clone()
    with pytest.raises(CheckpointError, match=message):
        load_into(model, dict(weight=weight, bias=torch.zeros(1)))
    assert torch.equal(model.weight, before)


def inside(value, times, wrap):
    for _ in range(times):
        value = wrap(value)
    return value


@pytest.mark.parametrize('old_format', [False, True])
@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (torch.ones(2).to_sparse(), "a: is no plain tensor. Received: 'torch.sparse_coo'"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "a: is no plain tensor. Received: 'quantized'"),
        (torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "Received: 'nested'|truncated or damaged"),
        (torch.empty(2, device='meta'), 'a: is no plain tensor'),
        (torch.ones(1).expand(2**20, 2**20), 'a: is no plain tensor'),
        (inside([], 200, lambda value: [value]), 'more than 100 containers'),
        (inside([], 9, lambda value: [value] * 9), 'values or more'),
    ],
)
def test_content_that_nothing_can_be_done_with_is_refused(tmp_path, value, message, old_format):
    content = dict(state_dict=dict(b=torch.ones(1)), optimizer=dict(a=value))
    path = save(tmp_path / 'a.pth', old_format, content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint_file(path)


@pytest.mark.parametrize(
    ('attributes', 'received'),
    [
        (dict(_metadata=3), '3'),
        (dict(_metadata=[dict(version=1)]), 'version'),
        (dict(_metadata={'': 3}), '3'),
        (dict(_metadata={'': dict(version='x')}), 'x'),
        (dict(_metadata={'': dict(version=[1])}), '1'),
        (dict(_metadata={}, pop=3), 'pop'),
        (dict(get=3), 'get'),
    ],
)
def test_attributes_of_state_dicts_are_those_that_torch_writes(tmp_path, attributes, received):
    state = nn.BatchNorm2d(1).state_dict()
    assert list(load_checkpoint_file(save(tmp_path / 'a.pth', content=dict(state_dict=state)))['state_dict']) == list(
        state
    )
    vars(state).update(attributes)
    path = save(tmp_path / 'b.pth', content=dict(state_dict=state))
    with pytest.raises(CheckpointError, match=rf'b\.pth: state_dict\._metadata: must be .*{received}'):
        load_checkpoint_file(path)


@pytest.mark.parametrize('value', [torch.ones(1).expand(2**10, 2**10), torch.ones(2).to(torch.float8_e4m3fn)])
def test_uncommon_tensors_are_read(tmp_path, value):
    path = save(tmp_path / 'a.pth', content=dict(a=value))
    assert load_checkpoint_file(path)['state_dict']['a'].shape == value.shape


@pytest.mark.parametrize('old_format', [False, True])
@pytest.mark.parametrize('read', [load_checkpoint_file, _read_weights])
def test_keys_that_overflow_the_stack_are_refused(tmp_path, read, old_format):
    """``torch.load`` hashes a tuple of tuples of tuples ..., and the process is gone."""
    content = b'\x80\x02}q\x00)' + b'\x85' * 300_000 + b'K\x01s.'
    path = save(tmp_path / 'a.pth', old_format, {})
    if old_format:
        empty = b'\x80\x02}q\x00.'
        head, _, rest = path.read_bytes().rpartition(empty)
        path.write_bytes(head + content + rest)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, 'w') as archive:
            for name, data in members.items():
                archive.writestr(name, content if name.endswith('data.pkl') else data)
    with pytest.raises(CheckpointError, match='more than 100 tuples inside each other'):
        read(path)


def test_many_tuples_beside_each_other_are_read(tmp_path):
    meta = dict(pairs=[(index, (index,)) for index in range(20_000)])
    path = save(tmp_path / 'a.pth', content=dict(state_dict=dict(a=torch.ones(1)), meta=meta))
    assert load_checkpoint_file(path)['meta'] == meta


def test_what_a_model_has_itself_may_be_infinite():
    model = nn.Linear(1, 1)
    model.register_buffer('mask', torch.tensor([0, float('-inf')]))
    model.register_buffer('num_batches_tracked', torch.tensor(0))
    state = {**model.state_dict(), 'num_batches_tracked': torch.tensor(3.0), 'leftover': torch.tensor(float('nan'))}
    assert load_into(model, state).loaded == 4


def test_another_precision_is_said():
    model = nn.Linear(2, 1)
    state = {name: value.half() for name, value in model.state_dict().items()}
    note = 'the checkpoint stores 2 tensors in float16, the model has float32: they are converted'
    assert load_into(model, state).notes == [note] and model.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ('weight', 'message'),
    [
        (torch.full((2, 3), float('nan')), 'weight: is not finite'),
        (torch.ones(2, 3).int(), 'weight: weights must be floating-point numbers'),
    ],
)
def test_pretrained_weights_that_cannot_be_used_are_refused(tmp_path, weight, message):
    class Backbone(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
            self.conv = nn.Linear(3, 2)

    torch.save({'conv.weight': weight}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=rf'a\.pth: conv\.{message}'), trusting(True):
        Backbone().init_weights()


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / 'a.pth')
    for version in ('2.10.0', '2.13.0+cpu', '3.0.0a0+git1'):
        monkeypatch.setattr(torch, '__version__', version)
        load_checkpoint_file(path)
    monkeypatch.setattr(torch, '__version__', '2.9.1+cu128')
    with pytest.raises(CheckpointError, match=r"torch >= 2\.10 is required.*Received: '2\.9\.1\+cu128'"):
        load_checkpoint_file(path)
