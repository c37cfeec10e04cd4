"""The one reader of checkpoints.

Nothing found in a file is ever executed: files are read with ``weights_only=True`` and a short allow-list of harmless
types that mmengine and mmdetection files hold; whatever else is refused unless the user says ``--trust-checkpoint``.
Config text stored inside is a string.
"""

import contextlib
import contextvars
import json
import logging
import os
import pickle
import re
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import safe_open
from torch import nn

from ...errors import CheckpointError
from ...formats.torch_file import Member, check_sums, check_tuples, has_sums, read_members, read_unreplaced
from ...utils.checks import is_int
from .names import rename_reference_keys
from .sources import resolve_checkpoint

# The types that torch.load accepts.
MapLocation = str | torch.device | Callable[[torch.types.Storage, str], torch.types.Storage]
# An older ``weights_only`` can be corrupted by a crafted file.
MINIMUM_TORCH = (2, 10)
_STATE_KEYS = ('state_dict', 'model', 'model_state_dict')
_MAX_DEPTH = 100
_MOST_VALUES = 10_000_000
_EXPANDED = 1 << 20  # elements that a tensor with strides of 0 may have beyond those of its memory
_DTYPES = {
    torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2,
    torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
}  # fmt: skip

_NUMBERS = {'b1', *(f'{kind}{size}' for kind in 'iu' for size in (1, 2, 4, 8)), 'f2', 'f4', 'f8', 'c8', 'c16'}


class _Dtype:
    """Stand-in for ``numpy.dtype``, for numbers only: a forged one makes numpy take numbers for addresses of objects."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(f'GLOBAL numpy.dtype of {code!r:.80} is not accepted')
        self.real = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, order, *rest = state
        if order not in ('<', '>', '|', '=') or rest != [None, None, None, -1, -1, 0]:
            raise pickle.UnpicklingError('GLOBAL numpy.dtype with fields, flags or sub-arrays is not accepted')
        self.real = self.real.newbyteorder(order)


class _Array(np.ndarray):
    """Stand-in for ``numpy.ndarray``, which a file cannot make of a type, shape and memory of its choice."""

    def __new__(cls, *_args: object) -> '_Array':
        raise pickle.UnpicklingError('GLOBAL numpy.ndarray is not accepted as a function')

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, data = state
        # A copy of what was read has its dtype already.
        real = dtype.real if type(dtype) is _Dtype else dtype if isinstance(dtype, np.dtype) else None
        if real is None or (real.kind == 'b' and data.strip(b'\0\1')):
            raise pickle.UnpicklingError('GLOBAL numpy.ndarray of such values is not accepted')
        super().__setstate__((version, shape, real, fortran, data))


def _new_array(kind: object, shape: object, code: object) -> _Array:
    """Stand-in for the function that makes an empty array, whose content follows."""
    return np.ndarray.__new__(_Array, (0,), 'b')


def _numpy_scalar(dtype: _Dtype, data: str | bytes) -> np.generic:
    if type(dtype) is not _Dtype:
        raise pickle.UnpicklingError('GLOBAL numpy scalars of another type are not accepted')
    return np.frombuffer(data if isinstance(data, bytes) else data.encode('latin1'), dtype=dtype.real)[0]


def _no_bytes() -> bytes:
    """Stand-in for ``bytes``, by which protocol 2 makes those of an empty array; all others are texts there."""
    return b''


class _History:
    """Stand-in for mmengine's ``HistoryBuffer``, which keeps the arrays and runs no code."""

    def __setstate__(self, state: dict) -> None:
        self.plain = dict(
            log_history=torch.from_numpy(np.array(state['_log_history'])),
            count_history=torch.from_numpy(np.array(state['_count_history'])),
            max_length=int(state.get('max_length', 1000000)),
        )


def _history_method(owner: object, name: object) -> str:
    """Stand-in for ``getattr``, by which a pickled HistoryBuffer refers to its methods; no attribute is looked up."""
    if owner is not _History:
        raise pickle.UnpicklingError('getattr is only accepted inside a HistoryBuffer')
    return str(name)


def _allowed_globals() -> list:
    """Plain-data types of foreign checkpoints. A pair maps a pickled name to the callable used in its place."""
    allowed: list = [
        Namespace,
        (_Array, 'numpy.ndarray'),
        (_Dtype, 'numpy.dtype'),
        (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    ]
    for package in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(_new_array, f'{package}._reconstruct'), (_numpy_scalar, f'{package}.scalar')]
    for package in ('builtins', '__builtin__'):
        allowed += [(_history_method, f'{package}.getattr'), (_no_bytes, f'{package}.bytes')]
    return allowed


def load_checkpoint_file(
    path_or_name: str | os.PathLike,
    *,
    trust: bool = False,
    map_location: MapLocation = 'cpu',
    mmap: bool = False,
) -> dict:
    """Read a checkpoint from a path, URL or name into ``dict(state_dict=..., meta=..., ...)``.

    Accepts ``.pth`` (zip and the older format), ``.safetensors``, a bare state dict, ``{'state_dict': ...}`` and
    ``{'model': ...}``.

    Args:
        path_or_name: local path, URL or ``scheme://name``, see
            :func:`~mmdet.engine.checkpoint.sources.resolve_checkpoint`.
        trust: allow full unpickling, which can run any code hidden in the file, when the safe way refuses it.
        map_location: device of the tensors.
        mmap: map the file into memory instead of reading it, which is faster if only its small values are needed.

    Raises:
        CheckpointError: missing, empty, truncated, unsafe, or not a checkpoint; the message names the file.
    """
    require_safe_torch()
    path = resolve_checkpoint(path_or_name)
    return read_unreplaced(path, lambda: _read(path, trust, map_location, mmap))


def _read(path: Path, trust: bool, map_location: MapLocation, mmap: bool) -> dict:
    try:
        kind = _sniff(path)
        if kind == 'safetensors':
            content = _load_safetensors(path, map_location)
        elif kind == 'zip':
            content = _load_zip(path, trust, map_location, mmap)
        else:
            with path.open('rb') as stream:
                check_tuples(path, stream)
            content = _load_pickle(path, trust, map_location)
        return _normalise(content, path, on_meta=str(map_location) == 'meta')
    except CheckpointError:
        raise
    except (OSError, MemoryError, torch.OutOfMemoryError) as error:
        raise CheckpointError(f'cannot be read ({_first_line(error) or type(error).__name__})', file=path) from error
    except Exception as error:  # damaged bytes make a deserialiser raise nearly anything
        message = f'truncated or damaged ({type(error).__name__}: {_first_line(error)})'
        raise CheckpointError(message, file=path) from error


def require_safe_torch() -> None:
    """Refuse to read pickles by a torch whose ``weights_only`` can be corrupted by a crafted file.

    Raises:
        CheckpointError: torch is older than 2.10.
    """
    if tuple(map(int, torch.__version__.split('.')[:2])) < MINIMUM_TORCH:
        raise CheckpointError(
            f'torch >= {".".join(map(str, MINIMUM_TORCH))} is required: a crafted file can corrupt the memory of an older one',
            field='torch',
            received=torch.__version__,
        )


def _load_zip(path: Path, trust: bool, map_location: MapLocation, mmap: bool) -> Any:
    """Names and plain values are checked before they are read, the tensors by a second thread while torch reads them."""
    tensors: list[Member] = []
    with path.open('rb') as stream:
        members = read_members(path, stream)
        if has_sums(members):
            check_sums(path, stream, [member for member in members if not member.is_tensor])
            tensors = [] if mmap else [member for member in members if member.is_tensor]
        check_tuples(path, stream, members)
    if not has_sums(members):
        message = (
            f'{path}: has no check sums (torch.serialization.set_crc32_options(False)); damage of it cannot be seen'
        )
        print_log(message, logger='current', level=logging.WARNING)
    if mmap and path.suffix == '.safetensors':  # by this name torch takes it for the other format
        mmap = False
    with ThreadPoolExecutor(1) as pool, path.open('rb') as stream:
        check = pool.submit(check_sums, path, stream, tensors)
        try:
            content = _load_pickle(path, trust, map_location, mmap=mmap, before_trusting=check.result)
        finally:
            check.result()  # a damaged member is a better message than what torch makes of it
    return content


def _load_pickle(
    path: Path,
    trust: bool,
    map_location: MapLocation,
    *,
    mmap: bool = False,
    before_trusting: Callable[[], object] = lambda: None,
) -> Any:
    """``torch.load`` of tensors and plain values; of anything if ``trust`` says so, after a call of ``before_trusting``."""

    def read(weights_only: bool) -> Any:
        if mmap:
            return torch.load(path, map_location=map_location, mmap=True, weights_only=weights_only)
        with path.open('rb') as stream:
            return torch.load(stream, map_location=map_location, weights_only=weights_only)

    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            return read(weights_only=True)
    except pickle.UnpicklingError as error:
        if not trust:
            raise CheckpointError(_refusal(error), file=path) from error
    before_trusting()
    message = f'{path}: read by full unpickling as --trust-checkpoint demands; code inside it may run'
    print_log(message, logger='current', level=logging.WARNING)
    try:
        return read(weights_only=False)
    except Exception as error:  # a trusted pickle may raise anything
        message = f'cannot be unpickled ({type(error).__name__}: {_first_line(error)})'
        raise CheckpointError(message, file=path) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [''])[0]


def _refusal(error: Exception) -> str:
    text = str(error)
    names = sorted(set(re.findall(r"(?:GLOBAL |<class ')([A-Za-z_][\w.]*\w)", text)))
    what = f' ({", ".join(names)})' if names else ''
    if 'Unsupported operand' in text:
        what = ' (or is written in another pickle protocol than 2, which torch.save takes by default)'
    return (
        f'holds objects other than tensors and plain values{what}; nothing of it was executed. '
        'If you trust its source, pass --trust-checkpoint (or trust_checkpoint=True in the config), which lets code inside the file run'
    )


def _sniff(path: Path) -> str:
    """Tell 'zip', 'pickle' and 'safetensors' apart by the first bytes, and name what is not a checkpoint."""
    with open(path, 'rb') as stream:
        head = stream.read(512)
    if not head:
        raise CheckpointError('the file is empty', file=path)
    if head.startswith(b'PK\x03\x04'):
        return 'zip'
    if head.startswith(b'version https://git-lfs'):
        raise CheckpointError('is a git-lfs pointer, not the checkpoint itself; run `git lfs pull`', file=path)
    if head.lstrip().lower().startswith((b'<!doctype', b'<html', b'<?xml')):
        raise CheckpointError('is a web page, not a checkpoint; the download was redirected or refused', file=path)
    header_length = int.from_bytes(head[:8], 'little')
    if head[8:9] == b'{' and 2 <= header_length <= path.stat().st_size:
        return 'safetensors'
    if head[0] == 0x80 and head[1:2] < b'\x10':  # an opcode and the version of the protocol
        return 'pickle'
    if path.suffix == '.safetensors':
        return 'safetensors'
    raise CheckpointError('is not a checkpoint: neither a torch file nor safetensors', file=path, received=head[:16])


def _load_safetensors(path: Path, map_location: MapLocation) -> dict:
    with safe_open(path, framework='pt', device=str(map_location)) as archive:
        state = OrderedDict((name, archive.get_tensor(name)) for name in archive.keys())  # noqa: SIM118
        meta = dict(archive.metadata() or {})
    # The header of this format holds strings only: write_checkpoint puts all of ``meta`` into one, as JSON.
    meta = json.loads(meta['meta']) if 'meta' in meta else meta
    if not isinstance(meta, dict):
        raise CheckpointError('must be a JSON object', file=path, field='meta', received=type(meta).__name__)
    return dict(state_dict=state, meta=meta)


class _Counter:
    """Looks at everything in a checkpoint, so that what comes after may walk through it without fear.

    Args:
        path: the checkpoint, for messages.
        on_meta: it was read onto the device ``meta``, where tensors have no numbers.
    """

    def __init__(self, path: Path, on_meta: bool):
        self.path, self.on_meta = path, on_meta
        self.known: dict[int, int] = {}

    def count(self, value: Any, place: str = '', depth: int = 0) -> int:
        """Number of values in a container, shared ones counted each time.

        Raises:
            CheckpointError: too many, too deep, or a tensor that is no plain memory full of numbers.
        """
        if isinstance(value, torch.Tensor):
            odd = self._oddity(value)
            if odd:
                raise CheckpointError('is no plain tensor', file=self.path, record=place, received=odd)
        if not isinstance(value, (Mapping, list, tuple)):
            return 1
        if isinstance(value, OrderedDict):
            self._check_attributes(value)
        found = self.known.get(id(value))
        if found is None:
            if depth == _MAX_DEPTH:
                raise CheckpointError(f'more than {_MAX_DEPTH} containers inside each other', file=self.path)
            self.known[id(value)] = _MOST_VALUES  # while its parts are counted: it may be one of them
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            found = 1 + sum(self.count(item, f'{place}.{key}' if place else str(key), depth + 1) for key, item in items)
            self.known[id(value)] = found
        if found >= _MOST_VALUES:
            raise CheckpointError(
                f'stands for {_MOST_VALUES} values or more, or for a list inside itself', file=self.path
            )
        return found

    def _check_attributes(self, value: OrderedDict) -> None:
        """Refuse attributes that would hide methods, and versions of modules of another kind than ``Module.state_dict`` makes."""
        attributes = dict(vars(value))
        metadata = attributes.pop('_metadata', {})
        entries = metadata.values() if isinstance(metadata, dict) else [metadata]
        plain = all(type(entry) is dict and is_int(entry.get('version') or 0) for entry in entries)
        if attributes or not plain or (isinstance(metadata, OrderedDict) and vars(metadata)):
            message = (
                'must be a dict of a dict for each module, whose version is a whole number, and the only attribute'
            )
            received = list(attributes) or metadata
            raise CheckpointError(message, file=self.path, field='state_dict._metadata', received=received)

    def _oddity(self, value: torch.Tensor) -> object:
        if value.is_nested or value.is_quantized or value.layout != torch.strided:
            return f'{"nested" if value.is_nested else "quantized" if value.is_quantized else value.layout}'
        if value.dtype not in _DTYPES:
            return value.dtype
        if value.is_meta:
            return None if self.on_meta else value.device
        # Strides of 0 make any number of elements out of one.
        room = value.untyped_storage().nbytes() // value.element_size()
        return None if value.numel() <= max(room, _EXPANDED) else f'{value.numel()} elements in the memory of {room}'


def _normalise(content: Any, path: Path, on_meta: bool = False) -> dict:
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, Mapping):
        raise CheckpointError('holds no state dict', file=path, received=type(content).__name__)
    _Counter(path, on_meta).count(content)
    key = next((key for key in _STATE_KEYS if isinstance(content.get(key), (Mapping, nn.Module))), None)
    checkpoint = {} if key is None else {name: value for name, value in content.items() if name != key}
    state = content if key is None else content[key]
    if isinstance(state, nn.Module):
        state = state.state_dict()
    strangers = [
        name
        for name, value in state.items()
        if not (isinstance(name, str) and name.isprintable() and isinstance(value, torch.Tensor))
    ]
    if not state or strangers:
        received = f'{strangers[0]}: {type(state[strangers[0]]).__name__}' if strangers else 'an empty dictionary'
        raise CheckpointError('the state dict must map parameter names to tensors', file=path, received=received)
    meta = checkpoint.get('meta')
    entries = meta.items() if isinstance(meta, Mapping) else ()
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in entries}
    checkpoint.update(state_dict=state, meta=plain)
    return _plain_histories(checkpoint)


def _plain_histories(value: Any) -> Any:
    """Replace the stand-ins of HistoryBuffers inside dictionaries by the plain form this package saves."""
    if isinstance(value, _History):
        return value.plain
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            if isinstance(item, (dict, _History)):
                value[key] = _plain_histories(item)
    return value


def is_finite(value: torch.Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    has_such = value.is_floating_point() or value.is_complex()
    if value.element_size() == 1 and has_such:
        value = value.float()  # torch does not ask 8-bit numbers
    return not has_such or value.is_meta or bool(value.isfinite().all())


# mmengine calls the loader of pretrained weights without an argument for trust: the runner sets this variable for the call.
_TRUST: contextvars.ContextVar[bool] = contextvars.ContextVar('trust', default=False)


@contextlib.contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Whether pretrained files that are read inside the block may unpickle arbitrary objects."""
    token = _TRUST.set(trust)
    try:
        yield
    finally:
        _TRUST.reset(token)


def load_from_mmdet(filename: str, map_location: MapLocation | None = None) -> dict:
    """The same reader for mmengine's ``init_cfg=dict(type='Pretrained', checkpoint=...)``, reference names renamed."""
    checkpoint = load_checkpoint_file(filename, trust=_TRUST.get(), map_location=map_location or 'cpu')
    checkpoint['state_dict'], _ = rename_reference_keys(checkpoint['state_dict'])
    # mmengine copies these tensors into the model itself, whatever they hold.
    for name, value in checkpoint['state_dict'].items():
        if not is_finite(value):
            raise CheckpointError('is not finite', file=filename, record=name)
        if name.endswith(('.weight', '.bias')) and not value.is_floating_point():
            raise CheckpointError(
                'weights must be floating-point numbers', file=filename, record=name, received=value.dtype
            )
    return checkpoint


# mmengine takes the loader of the longest prefix that matches, hence each of its own schemes is replaced by name.
CheckpointLoader.register_scheme(
    prefixes=['', 'http://', 'https://', 'modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'file://'],
    loader=load_from_mmdet,
    force=True,
)
