"""Pickles as data: what mmdetection and this package write reads back, everything else is refused and nothing happens."""

import pickle
import struct

import numpy as np
import pytest
import torch

from mmdet.errors import DataError
from mmdet.formats.pickle_file import parse_pickle


class Raw:
    """Pickles as a call of any function with any state."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


RECONSTRUCT = np.empty(0).__reduce__()[0]
FRESH = (np.ndarray, (0,), b'b')
FLOAT = ('f4', False, True)
PLAIN = (3, '<', None, None, None, -1, -1, 0)  # the state of a dtype


def forged_array(state, dtype=FLOAT, dtype_state=PLAIN):
    """A NumPy array whose state is given, with a dtype of given arguments and state in its third place."""
    version, shape, *rest = state
    return Raw(RECONSTRUCT, FRESH, (version, shape, Raw(np.dtype, dtype, dtype_state), *rest))


def forged_tensor(offset, size, stride):
    storage = torch.arange(4.0)._typed_storage()
    return Raw(torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {}))


def sample(count):
    """One image as mmdetection 3.x's DumpDetResults writes it, and values of other types."""
    detections = torch.arange(count * 5.0).reshape(count, 5)
    return {
        'img_id': 7, 'img_path': 'a/ü.jpg', 'ori_shape': (480, 640), 'scale_factor': (np.float64(1.5), np.float32(2)),
        'flip': False, 'flip_direction': None, 'negative': -5, 'large': -(2**62),
        'pred_instances': {
            'bboxes': detections[:, :4], 'scores': detections[:, 4], 'labels': torch.arange(count),
            'masks': [{'size': [480, 640], 'counts': b'ab\xff\0'}, {'size': [1, 1], 'counts': b''}],
        },
        'gt_instances': {'bboxes': torch.zeros(0, 4), 'labels': torch.zeros(0, dtype=torch.int64)},
        'torch': [torch.ones(2).half(), torch.ones(3).bfloat16(), torch.tensor(3.0), torch.tensor([True, False]),
                  torch.arange(6).reshape(2, 3).t(), torch.ones(2, 1, dtype=torch.uint8), torch.ones(2).double()],
        'numpy': [np.arange(6, dtype='>i8').reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(5),
                  np.array([True, False]), np.zeros((0, 4)), np.bool_(True), np.float16(0.5)],
    }  # fmt: skip


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray | np.generic):
        return type(one) is type(other) and one.dtype.newbyteorder('=') == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize('core', ['core', '_core'])
@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('count', [0, 3])
def test_results_read_back(protocol, count, core):
    content = [sample(count), sample(count)]
    data = pickle.dumps(content, protocol)
    if protocol < 4:  # the names of NumPy 1 and 2, written in full
        data = data.replace(b'cnumpy._core.', b'cnumpy.core.').replace(b'cnumpy.core.', b'cnumpy.%s.' % core.encode())
    found = parse_pickle(data, 'a.pkl')
    assert same(content, found)
    found[0]['pred_instances']['bboxes'] += 1  # writable, and not shared
    found[0]['numpy'][1][:] = 0
    assert same(content[1], found[1])


def test_sizes_and_expanded_tensors():
    content = dict(img_shape=torch.Size([3, 4]), scores=torch.ones(1, 2).expand(3, 2))
    for protocol in (2, 4):
        found = parse_pickle(pickle.dumps(content, protocol), 'a.pkl')
        assert same(dict(content, img_shape=(3, 4)), found)


def test_results_of_mmdetection_2x():
    content = [[np.arange(10, dtype=np.float32).reshape(2, 5), np.zeros((0, 5), np.float32)]]
    assert same(content, parse_pickle(pickle.dumps(content, 2), 'a.pkl'))


@pytest.mark.parametrize(
    'content, received',
    [
        (Raw(print, ('x',)), 'builtins.print'),
        (forged_array((1, (1,), False, struct.pack('<Q', 0x41)), ('O', False, True), (3, '|', *PLAIN[2:])), "dtype 'O'"),
        (forged_array((1, (1,), False, bytes(4)), dtype_state=(3, '<', None, None, None, -1, -1, 63)), 'with fields'),
        (forged_array((1, (1,), False, bytes(4)), dtype_state=(3, '<', None, ('a',), {}, 4, 4, 0)), 'with fields'),
        (np.array(['text']), "dtype 'U4'"),
        (np.array([1j]), "dtype 'c16'"),
        (np.zeros(1, 'M8[s]'), "dtype 'M8'"),
        (torch.zeros(2, dtype=torch.complex64), 'torch.ComplexFloatStorage'),
        (torch.nn.Parameter(torch.zeros(1)), 'torch._utils._rebuild_parameter'),
        ({1, 2}, 'EMPTY_SET'),
        (np.ndarray, 'ndarray as a value'),
    ],
)  # fmt: skip
def test_other_objects_are_refused_by_name(content, received):
    with pytest.raises(DataError, match='neither plain data, array nor tensor') as error:
        parse_pickle(pickle.dumps([content], 4), 'a.pkl')
    assert received in str(error.value) and str(error.value).startswith('a.pkl: ')


@pytest.mark.parametrize(
    'code, received',
    [
        (b'(ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\0\0\0__defaults__)s\x86be', 'a new state for torch._utils'),
        (b'}}X\x01\0\0\0aK\x01sb', 'a new state for dict'),
        (b'cnumpy\nndarray\n)R', 'a call of numpy.ndarray'),
        (b'cnumpy\nndarray\n)\x81', 'NEWOBJ'),
        (b'\x82\x01', 'EXT1'),
        (b'X\x01\0\0\0aQ', 'BINPERSID'),
        (b'\x97', 'NEXT_BUFFER'),
        (b'X\x02\0\0\0osX\x06\0\0\0system\x93', 'os.system'),
        (b'ctorch\nFloatStorage\n', 'torch.FloatStorage'),
    ],
)
def test_other_instructions_are_refused(code, received):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    with pytest.raises(DataError, match='neither plain data, array nor tensor') as error:
        parse_pickle(b'\x80\x04' + code + b'.', 'a.pkl')
    assert received in str(error.value) and torch._utils._rebuild_tensor_v2.__defaults__ is before


@pytest.mark.parametrize(
    'content, message',
    [
        (forged_array((1, (2,), False, bytes(4))), 'an array of 2 numbers'),
        (forged_array((1, (-1,), False, bytes(4))), 'whole number >= 0'),
        (forged_array((1, (1 << 62, 0), False, b'')), 'whole number >= 0'),
        (forged_array((1, (4,), False, b'\2\0\1\0'), ('b1', False, True), (3, '|', *PLAIN[2:])), 'a truth value'),
        (Raw(RECONSTRUCT, FRESH), 'without type or data'),
        (forged_tensor(0, (5,), (1,)), 'a tensor of size'),
        (forged_tensor(1, (4,), (1,)), 'a tensor of size'),
        (forged_tensor(0, (1 << 30,), (0,)), 'a tensor of size'),
        (forged_tensor(0, (2, 2), (3, 1)), 'a tensor of size'),
        (forged_tensor(-1, (1,), (1,)), 'whole number >= 0'),
        ([forged_tensor(0, (1 << 20,), (0,))] * 40, 'far larger than the file'),
        (Raw(torch.Size, ((1, 'x'),)), 'whole number >= 0'),
        (forged_tensor(0, (1,), (-1,)), 'whole number >= 0'),
        (10**40, '64 bits'),
        ({(1, 2): 3}, 'key of a dict'),
        ({2**61: 1}, 'key of a dict'),
    ],
)
def test_inconsistent_objects(content, message):
    with pytest.raises(DataError, match='broken pickle') as error:
        parse_pickle(pickle.dumps([content], 4), 'a.pkl')
    assert message in str(error.value)


@pytest.mark.parametrize(
    'code, message',
    [
        (b'})' + b'\x85' * 300_000 + b'K\x01s', 'key of a dict'),  # its hash overflows the C stack
        (b')' + b'\x85' * 300_000, 'inside each other'),
        (b']\x94h\x00a', 'inside each other'),
        (b'\x8e' + b'\xff' * 7 + b'\x0f', 'ends inside a value'),
        (b'\x8b\xff\xff\xff\xff', 'ends inside a value'),
        (b'r\xff\xff\xff\xff', 'IndexError'),
        (b'h\x05', 'KeyError'),
        (b't', 'IndexError'),
        (b'\x87', 'a tuple of more values'),
        (b'K', ''),
    ],
)
def test_files_that_crash_or_fill_the_memory_elsewhere(code, message):
    with pytest.raises(DataError, match='broken pickle') as error:
        parse_pickle(b'\x80\x04' + code + b'.', 'a.pkl')
    assert message in str(error.value)


@pytest.mark.parametrize('leaf', [np.zeros(10), torch.zeros(10)])
def test_repeated_objects_do_not_grow(leaf):
    content = [leaf] * 3
    assert len(parse_pickle(pickle.dumps(content), 'a.pkl')) == 3  # as image sizes and class names are repeated
    for _ in range(9):
        content = [content] * 10
    with pytest.raises(DataError, match='far larger than the file'):
        parse_pickle(pickle.dumps(content), 'a.pkl')


def test_a_text_that_is_encoded_again_and_again():
    text = b'X' + struct.pack('<I', 1000) + b'a' * 1000
    code = b'](c_codecs\nencode\nq\x01' + text + b'X\x06\0\0\0latin1\x86q\x02R' + b'h\x01h\x02R' * 100 + b'e'
    with pytest.raises(DataError, match='encoded again and again'):
        parse_pickle(b'\x80\x02' + code + b'.', 'a.pkl')


def test_every_cut_and_every_changed_byte_is_an_error_or_data():
    data = pickle.dumps([sample(1)], 4)
    rng = np.random.default_rng(0)
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] = rng.integers(256)
        for torn in (data[:position], bytes(changed)):
            try:
                parse_pickle(torn, 'a.pkl')
            except DataError as error:
                assert 'a.pkl' in str(error)
