"""One callable for a network in an ONNX or OpenVINO file, whatever computes it: images in, named arrays out.

The libraries are imported when a network is opened, so that a program needs, and waits for, only the one that it uses. What is set here, and why:

* OpenVINO computes in bfloat16 on CPUs that have it unless it is told otherwise. Here ``precision`` decides, and ``None`` is ``'fp32'``.
* ONNX Runtime's threads wait for work in a loop (*spinning*); on a machine shared with other programs they take their time. Here they sleep.
* ONNX Runtime keeps the memory of the largest image that it has seen; for networks of several sizes it gives it back after each call.
* OpenVINO's CPU plugin leaves the thread that loads it a stack for signal handlers which is gone when the plugin is. Here the thread gets its own back.
"""

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .checks import is_int
from .errors import CheckpointError, ConfigError, ModelInputError

BACKENDS = ('onnxruntime', 'openvino')
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
# Names that users know, and ONNX Runtime's providers in order of preference. Those after the first compute what it does not.
_PROVIDERS = {
    'CPU': ('CPUExecutionProvider',),
    'CUDA': ('CUDAExecutionProvider', 'CPUExecutionProvider'),
    'TENSORRT': ('TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider'),
    'COREML': ('CoreMLExecutionProvider', 'CPUExecutionProvider'),
    'DIRECTML': ('DmlExecutionProvider', 'CPUExecutionProvider'),
    'ROCM': ('ROCMExecutionProvider', 'CPUExecutionProvider'),
}
_OF_SUFFIX = {'.onnx': BACKENDS, '.xml': ('openvino',)}
# What INFERENCE_PRECISION_HINT says for each precision. Of an int8 file the convolutions are integers; the device chooses for the rest.
_HINTS = {'fp32': 'f32', 'fp16': 'f16', 'bf16': 'bf16'}
_TYPES = {
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(int64)': np.int64,
    'tensor(int32)': np.int32,
}
_TYPES.update({'f32': np.float32, 'f16': np.float16, 'i64': np.int64, 'i32': np.int32})


class Network:
    """An opened network. Several threads may call it; it computes for one after the other.

    Attributes:
        backend: ``'onnxruntime'`` or ``'openvino'``.
        inputs: shape of each input by name, None for a size that is free.
        outputs: names of the outputs, in order.
        precision: what was asked for when it was opened, ``'fp32'`` by default.
        description: one line on what computes it, and how.
        lock: held while it computes; networks that share one run one after the other.
        thread: computes in the place of the calling thread, and of the lock, one call after the other; None by default.
    """

    backend: str
    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    description: str
    precision: str = 'fp32'

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.thread: ThreadPoolExecutor | None = None
        self._types: dict[str, type] = {}

    def __call__(self, image: np.ndarray, shape: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            image: (B, 3, H, W) float32, normalised and padded.
            shape: (B, 2) int64, height and width of each image before padding; of a network that gives raw outputs None.

        Returns:
            The outputs by name, in memory of their own.

        Raises:
            ModelInputError: arrays that the network does not take.
        """
        feed = {'image': image} if shape is None else {'image': image, 'shape': shape}
        return self.run(feed)

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As a call, with the inputs by name."""
        if feed.keys() != self.inputs.keys():
            raise ModelInputError(f'the network takes {sorted(self.inputs)}', file=self.name, received=sorted(feed))
        ready: dict[str, np.ndarray] = {}
        for key, value in feed.items():
            expected = self.inputs[key]
            fits = value.ndim == len(expected) and all(
                want in (None, size) for want, size in zip(expected, value.shape)
            )
            if not fits or 0 in value.shape:
                shown = ', '.join('any' if size is None else str(size) for size in expected)
                raise ModelInputError(f'must be ({shown})', file=self.name, field=key, received=value.shape)
            ready[key] = np.ascontiguousarray(value, self._types[key])
        try:
            if self.thread is not None:
                return self.thread.submit(self._run, ready).result()
            with self.lock:
                return self._run(ready)
        except RuntimeError as error:  # of both libraries: a size that the graph cannot take, no memory
            shapes = {key: value.shape for key, value in ready.items()}
            message = f'{self.backend} cannot run the network on these inputs ({_first_line(error)})'
            raise ModelInputError(message, file=self.name, received=shapes) from error

    def _run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError


def open_network(
    model: str | os.PathLike | bytes,
    *,
    backend: str | None = None,
    device: str = 'CPU',
    threads: int | None = None,
    precision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    spinning: bool = False,
    sizes_kept: int = 0,
) -> Network:
    """Open a network.

    Args:
        model: an ``.onnx`` or ``.xml`` file (its ``.bin`` beside it), or the bytes of an ONNX file.
        backend: ``'onnxruntime'`` (ONNX only) or ``'openvino'`` (both). None takes what the file is made for, and for ONNX the one that is
            installed, ONNX Runtime first.
        device: ``'CPU'``; for ONNX Runtime also ``'CUDA'``, ``'TensorRT'``, ``'CoreML'``, ``'DirectML'``, ``'ROCm'``, with a number as in
            ``'CUDA:1'``, or a provider's own name; for OpenVINO any device that it knows, such as ``'GPU'`` or ``'AUTO'``.
        threads: threads of the computation; None takes all cores.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``: for OpenVINO the type that it computes in (``'int8'``: of a quantised file, the rest
            in what the device prefers); ONNX Runtime computes in the types that are in the file. None is ``'fp32'``.
        cache_dir: where OpenVINO keeps compiled networks, which then open several times as fast; None keeps none.
        spinning: let ONNX Runtime's threads wait in a loop: a little faster on a machine with nothing else to do.
        sizes_kept: OpenVINO compiles a network with free sizes once more for each input size, up to so many at a time: faster by 4 to
            17 % for sizes that come again and again, slower for others. 0 does not.

    Raises:
        ConfigError: an option that is not possible, or a library that is not installed.
        CheckpointError: no such file, or one that the library cannot read.
    """
    name = model if isinstance(model, bytes) else Path(model)
    suffix = '.onnx' if isinstance(name, bytes) else name.suffix.lower()
    shown = '<bytes>' if isinstance(name, bytes) else str(name)
    if suffix == '.pt2':
        message = 'is a file of torch.export, which takes torch; export to onnx or openvino for this runtime'
        raise ConfigError(message, file=shown)
    if suffix not in _OF_SUFFIX:
        raise ConfigError(f'must be one of {sorted(_OF_SUFFIX)}', file=shown, field='suffix', received=suffix)
    if backend is not None and backend not in BACKENDS:
        raise ConfigError(f'must be one of {BACKENDS} or None', field='backend', received=backend)
    if backend is not None and backend not in _OF_SUFFIX[suffix]:
        raise ConfigError(f'{backend} does not read {suffix} files', file=shown, field='backend', received=backend)
    if precision is not None and precision not in PRECISIONS:
        raise ConfigError(f'must be one of {PRECISIONS} or None', field='precision', received=precision)
    if threads is not None and not is_int(threads, least=1):
        raise ConfigError('must be an integer >= 1, or None for all cores', field='threads', received=threads)
    if isinstance(name, Path) and not name.is_file():
        raise CheckpointError('no such network file', file=shown)
    chosen = backend or next((known for known in _OF_SUFFIX[suffix] if is_installed(known)), _OF_SUFFIX[suffix][0])
    network: Network
    if chosen == 'openvino':
        network = _OpenVINO(name, device, threads, precision or 'fp32', cache_dir, sizes_kept)
    else:
        network = _OnnxRuntime(name, device, threads, precision, spinning)
    network.precision = precision or 'fp32'
    return network


def is_installed(backend: str) -> bool:
    """Whether the library of a backend can be found; it is not imported."""
    return importlib.util.find_spec(backend) is not None


def _library(backend: str) -> Any:
    # OpenVINO reports its use to its makers, from a child process that waits for the network; it can do without that module.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(backend)
    except ImportError as error:
        extra = {'onnxruntime': 'onnx', 'openvino': 'openvino'}[backend]
        message = f"{backend} is not installed or cannot be loaded ({_first_line(error)}): pip install 'mmdet-dense-runtime[{extra}]'"
        raise ConfigError(message, field='backend', received=backend) from error


def _first_line(error: BaseException) -> str:
    """The line of a library's message that says what is wrong; OpenVINO puts places in its source before and between."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(('Exception from', 'Check ', 'While'))]
    return ' '.join((told or lines or [type(error).__name__])[0].split())[:300]


class _OnnxRuntime(Network):
    backend = 'onnxruntime'

    def __init__(
        self, model: Path | bytes, device: str, threads: int | None, precision: str | None, spinning: bool
    ) -> None:
        super().__init__('<bytes>' if isinstance(model, bytes) else str(model))
        ort = _library('onnxruntime')
        kind, _, number = device.partition(':')
        providers = _PROVIDERS.get(kind.upper(), (kind,))
        available = ort.get_available_providers()
        if providers[0] not in available:
            message = f'this onnxruntime offers {available}; other devices take another build of it, such as onnxruntime-gpu for CUDA and TensorRT'
            raise ConfigError(message, field='device', received=device)
        if precision == 'bf16' and providers[0] == 'CPUExecutionProvider':
            message = "ONNX Runtime has no bfloat16 on CPUs; take backend='openvino'"
            raise ConfigError(message, field='precision', received=precision)
        wanted: list[Any] = [one for one in providers if one in available]
        if number:
            if not number.isdigit():
                raise ConfigError("must be a device with its number, as in 'CUDA:1'", field='device', received=device)
            wanted = [(one, {'device_id': int(number)}) if one != 'CPUExecutionProvider' else one for one in wanted]
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.add_session_config_entry('session.intra_op.allow_spinning', str(int(spinning)))
        try:
            source = model if isinstance(model, bytes) else str(model)
            self._session = ort.InferenceSession(source, options, providers=wanted)
        except Exception as error:  # its exceptions have no common base but this one
            raise CheckpointError(f'onnxruntime cannot read it ({_first_line(error)})', file=self.name) from error
        used = self._session.get_providers()
        if used[0] != providers[0]:  # a CUDA library is missing: it says so on stderr and goes on with the CPU
            message = f'onnxruntime fell back to {used[0]}: a library of {providers[0]} could not be loaded, see its own message'
            raise ConfigError(message, field='device', received=device)
        self.inputs = {
            one.name: tuple(size if isinstance(size, int) else None for size in one.shape)
            for one in self._session.get_inputs()
        }
        self._types = {one.name: _TYPES[one.type] for one in self._session.get_inputs()}
        self.outputs = tuple(one.name for one in self._session.get_outputs())
        self._options = ort.RunOptions()
        if None in self.inputs.get('image', (None,))[1:] and used[0] == 'CPUExecutionProvider':
            self._options.add_run_config_entry('memory.enable_memory_arena_shrinkage', 'cpu:0')
        count = f', {threads} threads' if threads else ''
        self.description = f'onnxruntime {ort.__version__}, {used[0]}{count}'

    def _run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return dict(zip(self.outputs, self._session.run(None, feed, self._options)))
        except Exception as error:  # as above
            raise RuntimeError(str(error)) from error


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = [('address', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


@contextlib.contextmanager
def keeps_signal_stack() -> Iterator[None]:
    """Give the calling thread its alternate stack for signal handlers, or none, back after the block.

    OpenVINO's CPU plugin sets one when it is loaded, and unmaps it when it is destroyed, without a look at whether it is still set: with none set before,
    or with plugins that are not destroyed in the reverse order, Python's next signal (Ctrl-C, SIGTERM) is a segmentation fault. Once another stack is
    set, the plugin leaves that alone.
    """
    if sys.platform != 'linux':  # the plugin does it on Linux only
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)


@functools.cache
def openvino_core() -> Any:
    """The one ``openvino.Core`` of the process, with the plugins of its devices loaded."""
    with keeps_signal_stack():
        core = _library('openvino').Core()
        core.available_devices  # noqa: B018  (this loads them)
    return core


class _OpenVINO(Network):
    backend = 'openvino'

    def __init__(
        self, model: Path | bytes, device: str, threads: int | None, precision: str,
        cache_dir: str | os.PathLike | None, sizes_kept: int,
    ) -> None:  # fmt: skip
        super().__init__('<bytes>' if isinstance(model, bytes) else str(model))
        if not is_int(sizes_kept, least=0):
            raise ConfigError('must be an integer >= 0', field='sizes_kept', received=sizes_kept)
        ov = _library('openvino')
        self._core, self._device = openvino_core(), device.upper()
        known = self._core.available_devices
        if self._device.partition(':')[0] not in {name.partition('.')[0] for name in known} | {
            *known,
            'AUTO',
            'HETERO',
            'MULTI',
        }:
            raise ConfigError(f'OpenVINO has {known} here, or AUTO', field='device', received=device)
        self._config: dict[str, Any] = {'PERFORMANCE_HINT': 'LATENCY'}
        if precision in _HINTS:
            self._config['INFERENCE_PRECISION_HINT'] = _HINTS[precision]
        if self._device == 'CPU':
            self._config['NUM_STREAMS'] = '1'
            if threads is not None:
                self._config['INFERENCE_NUM_THREADS'] = threads
        if cache_dir is not None:
            self._config['CACHE_DIR'] = os.fspath(cache_dir)
        try:
            source = (model, b'') if isinstance(model, bytes) else (str(model),)
            self._model = self._core.read_model(*source)
            self._compiled = self._core.compile_model(self._model, self._device, self._config)
        except RuntimeError as error:
            raise CheckpointError(f'openvino cannot read it ({_first_line(error)})', file=self.name) from error
        self.inputs = {
            _name(one): tuple(None if size.is_dynamic else size.get_length() for size in one.partial_shape)
            for one in self._model.inputs
        }
        self._types = {_name(one): _TYPES[one.element_type.get_type_name()] for one in self._model.inputs}
        self.outputs = tuple(_name(one) for one in self._model.outputs)
        self._request = self._compiled.create_infer_request()
        self._sizes_kept = sizes_kept if any(None in shape for shape in self.inputs.values()) else 0
        self._own: OrderedDict[tuple, Any] = OrderedDict()  # requests of models compiled for one size
        self._seen: tuple = ()
        kind = self._config.get('INFERENCE_PRECISION_HINT', 'int8')
        offered = self._core.get_property(self._device, 'OPTIMIZATION_CAPABILITIES') if self._device in known else ()
        slow = precision in ('bf16', 'fp16') and offered and precision.upper() not in offered
        note = f' ({precision} is not computed by this device: the result is that of fp32)' if slow else ''
        count = f', {threads} threads' if threads else ''
        self.description = f'openvino {ov.__version__.partition("-")[0]}, {device}, {kind}{note}{count}'

    def _run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        result = self._request_for(feed).infer(dict(feed), share_inputs=True, share_outputs=True)
        return {name: np.array(value) for name, value in zip(self.outputs, result.values())}

    def _request_for(self, feed: Mapping[str, np.ndarray]) -> Any:
        """The model compiled for this size, once the size has come twice in a row; else the one for all sizes."""
        sizes = tuple(value.shape for value in feed.values())
        if not self._sizes_kept:
            return self._request
        if sizes in self._own:
            self._own.move_to_end(sizes)
            return self._own[sizes]
        if sizes != self._seen:
            self._seen = sizes
            return self._request
        model = self._model.clone()
        model.reshape({name: list(value.shape) for name, value in feed.items()})
        compiled = self._core.compile_model(model, self._device, self._config)
        self._own[sizes] = compiled.create_infer_request()
        while len(self._own) > self._sizes_kept:
            self._own.popitem(last=False)
        return self._own[sizes]


def _name(port: Any) -> str:
    """The name of an input or output; where it is also that of an inner tensor (``/Cast_output_0``), the one that was given to it."""
    return min(port.get_names(), key=lambda name: ('/' in name, len(name), name))


def check_outputs(network: Network, expected: Sequence[str]) -> None:
    """Raise a CheckpointError unless the network has the outputs that a program reads."""
    if not set(expected) <= set(network.outputs):
        raise CheckpointError(
            f'must have the outputs {list(expected)}', file=network.name, received=list(network.outputs)
        )
