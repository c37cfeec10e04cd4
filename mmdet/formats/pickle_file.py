"""Pickles as data: containers, numbers, texts, NumPy arrays and torch tensors, and nothing else.

Python's own machine for pickles makes whatever a file names, and crashes on some files (a hash of tuples nested a million times, a memo
index of 2**31, a forged ``numpy.dtype``), whatever classes it may find. The one here knows only the instructions that plain data need. A
name of the file never leads to an object: the few known ones lead to records (:class:`_Dtype`, :class:`_Array`, :class:`_Tensor`) of what
the file says, from which fresh arrays are made at the end, after their kind, shape and length are checked.
"""

import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .json_file import no_garbage_collection

_MAX_DEPTH = 50  # of containers; results have five
# What shared objects may grow to when they are written out, in bytes: a file of a kilobyte can name a list of lists of lists 10**9 times.
_GROWTH, _ALLOWANCE = 16, 64 << 20
_EXPANDED = 1 << 20  # elements that a tensor with strides of 0 may have beyond those of its storage
_NODE, _OBJECT = 8, 512  # bytes that an element of a container, and an array beside its numbers, count for

_ATOMS = {int, float, str, bool, type(None), bytes, bytearray}
_DTYPES = {'b1', *(f'{kind}{size}' for kind in 'iu' for size in (1, 2, 4, 8)), 'f2', 'f4', 'f8'}
_STORAGES = {
    'Float': torch.float32, 'Double': torch.float64, 'Half': torch.float16, 'BFloat16': torch.bfloat16, 'Long': torch.int64,
    'Int': torch.int32, 'Short': torch.int16, 'Char': torch.int8, 'Byte': torch.uint8, 'Bool': torch.bool,
}  # fmt: skip
# How torch.save begins a file in its old format, in which storages are pickled: magic number, version, sizes of C types.
_STORAGE_HEAD = b''.join(
    pickle.dumps(part, protocol=2)
    for part in (
        0x1950A86A20F9469CFC6C,
        1001,
        dict(protocol_version=1001, little_endian=True, type_sizes=dict(short=2, int=4, long=4)),
    )
)


def parse_pickle(data: bytes, path: str | PathLike) -> Any:
    """The content of a pickle of protocol 2 to 5; arrays and tensors are fresh, writable and on the CPU.

    Args:
        data: content of the file.
        path: its name, for messages.

    Raises:
        DataError: the pickle is torn or inconsistent, or holds other objects; the error names them.
    """
    try:
        with no_garbage_collection():
            content = _Machine(data).run()
            return _Finisher(_ALLOWANCE + _GROWTH * len(data)).finish(content, 0)
    except _RefusedError as refusal:
        raise DataError(
            'the pickle holds something that is neither plain data, array nor tensor',
            file=path,
            received=refusal.args[0],
        ) from refusal
    except Exception as error:  # a torn pickle raises nearly anything
        raise DataError(f'broken pickle ({type(error).__name__}: {str(error)[:200]})', file=path) from error


class _RefusedError(Exception):
    """Something in a pickle that is no data; the argument names it."""


class _Name(NamedTuple):
    """A name that a pickle may mention, and what calling it records; None: it is only an argument."""

    text: str
    call: Callable[..., Any] | None = None


@dataclass
class _Dtype:
    """``numpy.dtype`` of a kind and size like 'f4', and its byte order."""

    code: str
    order: str | None = None

    @property
    def real(self) -> np.dtype:
        return np.dtype(f'{self.order or "="}{self.code}')

    def build(self, state: tuple) -> None:
        """Take the byte order; fields, sub-arrays and flags, which would make the dtype another one, must be those of a number."""
        _, order, *rest = state
        if self.order is not None or order not in ('<', '>', '|', '=') or rest != [None, None, None, -1, -1, 0]:
            raise _RefusedError('numpy.dtype with fields, flags or sub-arrays')
        self.order = order


@dataclass
class _Array:
    """A NumPy array, or a scalar, whose ``shape`` is None; an array gets its parts by :meth:`build`."""

    shape: tuple | None = ()
    dtype: _Dtype | None = None
    order: str = 'C'
    data: bytes | bytearray = b''

    def build(self, state: tuple) -> None:
        if self.dtype is not None:
            raise ValueError('an array is given twice')
        _, self.shape, self.dtype, fortran, self.data = state
        self.order = 'F' if fortran is True else 'C'

    def make(self) -> np.ndarray | np.generic:
        if type(self.dtype) is not _Dtype or type(self.data) not in (bytes, bytearray) or self.order not in ('C', 'F'):
            raise ValueError('an array without type or data')
        dtype = self.dtype.real
        count = 1 if self.shape is None else math.prod(_naturals(self.shape))
        if count * dtype.itemsize != len(self.data):
            raise ValueError(f'an array of {count} numbers ({dtype}) with {len(self.data)} bytes')
        values = np.frombuffer(self.data, dtype)
        if dtype.kind == 'b':
            _check_truth_values(self.data)
        values = values.astype(dtype.newbyteorder('='))  # a copy
        return values[0] if self.shape is None else values.reshape(self.shape, order=self.order)  # type: ignore[call-overload]


@dataclass
class _Storage:
    """Memory of tensors."""

    dtype: torch.dtype
    data: memoryview


@dataclass
class _Tensor:
    """A torch tensor: a view of a storage, with offset, sizes and strides in elements."""

    storage: _Storage
    offset: int
    size: tuple
    stride: tuple

    def make(self) -> Tensor:
        size, stride, (offset,) = _naturals(self.size), _naturals(self.stride), _naturals((self.offset,))
        dtype, data = self.storage.dtype, self.storage.data
        room, count = len(data) // dtype.itemsize, math.prod(size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if count and (last >= room or count > max(room, _EXPANDED)):
            raise ValueError(f'a tensor of size {size}, stride {stride} and offset {offset} in {room} numbers')
        if not count:
            return torch.empty(size, dtype=dtype)
        if dtype == torch.bool:
            _check_truth_values(data)
        return torch.frombuffer(bytearray(data), dtype=dtype).as_strided(size, stride, offset)


def _naturals(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple or any(type(value) is not int or not 0 <= value < 1 << 40 for value in values):
        raise ValueError('a shape, stride or offset that is no whole number >= 0')
    return values


def _check_truth_values(data: bytes | bytearray | memoryview) -> None:
    if np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise ValueError('a truth value that is neither 0 nor 1')


def _need(kind: type, *values: Any) -> None:
    for value in values:
        if type(value) is not kind:
            raise ValueError(f'{_what(value)} where {kind.__name__} is needed')


def _what(value: Any) -> str:
    """What a value is, for messages; not its ``repr``, which shared lists make as long as they like."""
    return value.text if type(value) is _Name else type(value).__name__.lstrip('_')


def _dtype(code: str, align: bool = False, copy: bool = True) -> _Dtype:
    _need(str, code)  # before it is hashed
    if code not in _DTYPES:
        raise _RefusedError(f'numpy.dtype {code!r:.80}')
    return _Dtype(code)


def _frombuffer(data: bytes, dtype: _Dtype, shape: tuple, order: str) -> _Array:
    return _Array(shape, dtype, order, data)


def _scalar(dtype: _Dtype, data: bytes) -> _Array:
    return _Array(None, dtype, 'C', data)


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *rest: Any) -> _Tensor:
    _need(_Storage, storage)
    return _Tensor(storage, offset, size, stride)


def _size(values: tuple) -> tuple:
    """``torch.Size``, as a plain tuple."""
    _naturals(values)
    return values


def _storage(content: bytes) -> _Storage:
    """A storage out of what ``torch.save`` made of it: head, description, list of the one key, number of elements, elements."""
    if not content.startswith(_STORAGE_HEAD):
        raise _RefusedError('a storage in another format than that of torch.save')
    machine = _Machine(content, len(_STORAGE_HEAD), of_storage=True)
    persistent = machine.run()
    _need(_Persistent, persistent)
    what, kind, key, _, count, view = persistent.parts
    _need(str, what, key)
    name = kind.text.removeprefix('torch.').removesuffix('Storage') if type(kind) is _Name else ''
    if what != 'storage' or name not in _STORAGES or view is not None or machine.run() != [key]:
        raise _RefusedError(f'a storage that is no list of numbers ({_what(kind)})')
    data = memoryview(content)[machine.at :]
    dtype = _STORAGES[name]
    if struct.unpack_from('<q', data) != (count,) or count * dtype.itemsize != len(data) - 8:
        raise ValueError(f'a storage of {count} numbers ({dtype}) with {len(data) - 8} bytes')
    return _Storage(dtype, data[8:])


def _bytes(text: str = '', encoding: str = 'latin1') -> bytes:
    """Bytes in protocol 2, which has no instruction for them."""
    _need(str, text, encoding)
    if encoding != 'latin1':
        raise _RefusedError(f'_codecs.encode with {encoding:.80}')
    return text.encode('latin1')


@dataclass
class _Persistent:
    """What a storage's pickle says about the storage."""

    parts: tuple


_CALLS: dict[str, Callable[..., Any] | None] = {
    'collections.OrderedDict': lambda: {},  # the hooks of a tensor
    'numpy.dtype': _dtype,
    'numpy.ndarray': None,
    **{f'numpy.{core}.multiarray._reconstruct': lambda kind, shape, code: _Array() for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _scalar for core in ('core', '_core')},
    **{f'numpy.{core}.numeric._frombuffer': _frombuffer for core in ('core', '_core')},
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch.Size': _size,
    'torch.storage._load_from_bytes': _storage,
    '_codecs.encode': _bytes,
    '__builtin__.bytes': _bytes,
    'builtins.bytes': _bytes,
}
_NAMES = {name: _Name(name, call) for name, call in _CALLS.items()}
_STORAGE_NAMES = {f'torch.{name}Storage': _Name(f'torch.{name}Storage') for name in _STORAGES}

_CONSTANTS = {ord('N'): None, 0x88: True, 0x89: False}
_EMPTY = {ord(')'): tuple, ord(']'): list, ord('}'): dict}
_NUMBERS = {ord(code): struct.Struct(form) for code, form in (('K', '<B'), ('M', '<H'), ('J', '<i'), ('G', '>d'))}


def _text(data: bytes) -> str:
    return data.decode('utf-8', 'surrogatepass')


def _whole(data: bytes) -> int:
    if len(data) > 8:
        raise ValueError('a whole number of more than 64 bits')
    return int.from_bytes(data, 'little', signed=True)


# Instruction -> bytes of the length, and what is made of the bytes that follow it.
_SIZED: dict[int, tuple[int, Callable[[bytes], Any]]] = {
    0x8C: (1, _text), ord('X'): (4, _text), 0x8D: (8, _text), ord('C'): (1, bytes), ord('B'): (4, bytes), 0x8E: (8, bytes),
    0x96: (8, bytearray), 0x8A: (1, _whole), 0x8B: (4, _whole),
}  # fmt: skip
_INDEX = {ord('q'): 1, ord('r'): 4, ord('h'): 1, ord('j'): 4}
_INSTRUCTIONS = {ord(known.code): known.name for known in pickletools.opcodes}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_GLOBAL = re.compile(rb'([\w.]+)\n([\w.]+)\n')


class _Machine:
    """Executes the instructions of a pickle.

    Args:
        data: the pickle, or several.
        at: where it begins; afterwards, where it ended.
        of_storage: it is the description of a storage, which may name the storage types, and has one persistent id.
    """

    def __init__(self, data: bytes, at: int = 0, of_storage: bool = False):
        self.data, self.at, self.of_storage = data, at, of_storage
        self.names = _STORAGE_NAMES if of_storage else _NAMES

    def run(self) -> Any:
        """The object of the next pickle."""
        data, at, stack, memo = self.data, self.at, [], {}  # type: ignore[var-annotated]
        marks: list[int] = []
        encoded = 0
        while True:
            op = data[at]
            at += 1
            if op in _INDEX:
                width = _INDEX[op]
                index = int.from_bytes(data[at : at + width], 'little')
                at += width
                if op in b'qr':
                    memo[index] = stack[-1]
                else:
                    stack.append(memo[index])
            elif op == 0x94:
                memo[len(memo)] = stack[-1]
            elif op in _SIZED:
                width, make = _SIZED[op]
                start = at + width
                at = start + int.from_bytes(data[at:start], 'little')
                if at > len(data):
                    raise EOFError('the file ends inside a value')
                stack.append(make(data[start:at]))
            elif op in _NUMBERS:
                form = _NUMBERS[op]
                stack.append(form.unpack_from(data, at)[0])
                at += form.size
            elif op == ord('('):
                marks.append(len(stack))
            elif op in _CONSTANTS:
                stack.append(_CONSTANTS[op])
            elif op in _EMPTY:
                stack.append(_EMPTY[op]())
            elif op in _TUPLES:
                count = _TUPLES[op]
                if len(stack) < count:
                    raise IndexError('a tuple of more values than there are')
                stack[-count:] = [tuple(stack[-count:])]
            elif op in b'tue':
                start = marks.pop()
                values = stack[start:]
                del stack[start:]
                if op == ord('t'):
                    stack.append(tuple(values))
                elif op == ord('e'):
                    _append(stack[-1], values)
                else:
                    _set_items(stack[-1], values)
            elif op == ord('a'):
                _append(stack[-2], [stack.pop()])
            elif op == ord('s'):
                _set_items(stack[-3], stack[-2:])
                del stack[-2:]
            elif op == ord('c'):
                found = _GLOBAL.match(data, at)
                if found is None:
                    raise ValueError('a name that is none')
                at = found.end()
                stack.append(self._name(f'{found[1].decode()}.{found[2].decode()}'))
            elif op == 0x93:
                module, name = stack[-2:]
                _need(str, module, name)
                stack[-2:] = [self._name(f'{module}.{name}')]
            elif op == ord('R'):
                function, arguments = stack[-2:]
                if type(function) is not _Name or function.call is None or type(arguments) is not tuple:
                    raise _RefusedError(f'a call of {_what(function)}')
                made = function.call(*arguments)
                if type(made) is bytes:  # each is made of its own text, unless the file names one text again and again
                    encoded += len(made)
                    if encoded > len(data):
                        raise ValueError('texts that are encoded again and again')
                stack[-2:] = [made]
            elif op == ord('b'):
                state, target = stack.pop(), stack[-1]
                if not isinstance(target, _Dtype | _Array) or type(state) is not tuple:
                    raise _RefusedError(f'a new state for {_what(target)}')
                target.build(state)
            elif op == ord('Q') and self.of_storage:
                _need(tuple, stack[-1])
                stack[-1] = _Persistent(stack[-1])
            elif op == 0x95:  # a frame, whose length matters only to readers of streams
                at += 8
            elif op == 0x80:
                at += 1
            elif op == ord('.'):
                self.at = at
                (content,) = stack
                return content
            else:
                raise _RefusedError(f'the instruction {_INSTRUCTIONS.get(op, hex(op))}')

    def _name(self, text: str) -> _Name:
        if text not in self.names:
            raise _RefusedError(text)
        return self.names[text]


def _append(target: Any, values: list) -> None:
    _need(list, target)
    target += values


def _set_items(target: Any, values: list) -> None:
    _need(dict, target)
    keys = values[::2]
    # The hash of nested tuples overflows the C stack, and whole numbers beyond 2**60 may all have one hash.
    if any(type(key) is not str and (type(key) is not int or abs(key) >= 1 << 60) for key in keys):
        raise ValueError('a key of a dict that is neither a text nor a number')
    target.update(zip(keys, values[1::2], strict=True))


class _Finisher:
    """Makes the final objects; ``budget`` is the number of bytes that they may take."""

    def __init__(self, budget: int):
        self.budget = budget

    def finish(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is _Array:
            self._spend(_OBJECT + len(value.data))
            return value.make()
        if kind is _Tensor:
            tensor = value.make()
            self._spend(
                _OBJECT + max(len(value.storage.data), tensor.nbytes)
            )  # an expanded one has more than its storage
            return tensor
        if kind not in (list, tuple, dict):
            raise _RefusedError(f'{_what(value)} as a value')
        if depth == _MAX_DEPTH:
            raise ValueError(f'more than {_MAX_DEPTH} lists inside each other')
        self._spend(_NODE + _NODE * len(value))
        if kind is dict:
            return {key: item if type(item) in _ATOMS else self.finish(item, depth + 1) for key, item in value.items()}
        return kind(item if type(item) in _ATOMS else self.finish(item, depth + 1) for item in value)

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise ValueError('repeated objects that are far larger than the file')
