"""A pretend CUDA device: tensors which say ``cuda:0`` of themselves, are computed on the CPU, and refuse what CUDA refuses.

    with pretend_cuda():
        model.to('cuda')(torch.rand(1, 3, 32, 32, device='cuda'))

A tensor on it is an ordinary CPU tensor whose Python class is :class:`PretendTensor`; autograd, optimisers and kernels see a CPU tensor.
While the context is entered, every call of torch's Python interface is looked at (:class:`PretendCuda`). Refused are:

- operands on two devices, with CUDA's exemptions: 0-dimensional CPU tensors, CPU tensors as indices, copies;
- ``numpy()``, and everything that makes an array of a tensor on the device;
- a CPU generator for numbers drawn on the device;
- matrix products of integers, which CUDA has not;
- under ``torch.use_deterministic_algorithms(True)``, what torch documents as raising on CUDA.

It cannot see: kernels themselves (their rounding, order of ties and limits), calls inside ``torch.autograd.Function`` backwards and inside
torch's own Python functions, streams, memory, ``torch.compile`` and several devices.
"""

import contextlib
import functools
from unittest import mock

import mmengine.device.utils
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA, CPU = torch.device('cuda:0'), torch.device('cpu')
TWO_DEVICES = 'Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!'
NO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."

# Functions which accept, read or copy a tensor of another device, whatever its size.
ANY_DEVICE = {'copy_', 'to', 'type_as', 'tensor', 'as_tensor', 'asarray', 'new_tensor', 'expand_as', 'view_as', 'reshape_as', '__set__', '__get__',
              'result_type', 'can_cast', 'promote_types', 'is_same_size', '_has_compatible_shallow_copy_type', '__repr__', '__format__', '__deepcopy__', 'broadcast_tensors'}  # fmt: skip
# Functions which do not take the 0-dimensional CPU tensors that elementwise functions take.
NO_SCALARS = {
    'stack',
    'cat',
    'concat',
    'hstack',
    'vstack',
    'equal',
    'index_select',
    'gather',
    'take',
    'repeat_interleave',
}
PRODUCTS = {'matmul', '__matmul__', '__rmatmul__', 'mm', 'bmm', 'addmm', 'baddbmm', 'linear', 'einsum', 'tensordot', 'dot', 'mv', 'cdist',
            'conv1d', 'conv2d', 'conv3d', 'conv_transpose2d'}  # fmt: skip
# Those of the list of ``torch.use_deterministic_algorithms`` that a detector may come across: always, or where a gradient is wanted.
NOT_DETERMINISTIC = {'histc', 'kthvalue', 'put_', 'max_unpool2d', 'nll_loss2d'}
NOT_DETERMINISTIC_BACKWARD = {'adaptive_max_pool2d', 'avg_pool3d', 'grid_sample', 'ctc_loss'}
INDEXING = {'__getitem__', '__setitem__', 'index_put', 'index_put_'}

# Losses whose gradients are being computed: the engine hands plain tensors to the backward of a ``torch.autograd.Function``.
_inside_backward: list[Tensor] = []


def _is_cuda(device) -> bool:
    return isinstance(device, (str, torch.device)) and torch.device(device).type == 'cuda'


class PretendTensor(Tensor):
    """A CPU tensor that says ``cuda:0`` of itself, except to torch's own code (run with ``__torch_function__`` off)."""

    @property
    def device(self):
        return CUDA if torch._C._is_torch_function_enabled() else CPU

    @property
    def is_cuda(self):
        return self.device.type == 'cuda'

    @property
    def is_cpu(self):
        return not self.is_cuda

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            with torch.no_grad():
                copy = _onto(self.detach().clone(), PretendTensor).requires_grad_(self.requires_grad)
            copy.__dict__.update(self.__dict__)
            if self.grad is not None:
                copy.grad = self.grad.__deepcopy__(memo)
            memo[id(self)] = copy
        return memo[id(self)]

    def __format__(self, spec):
        return format(self.item() if self.dim() == 0 else str(self), spec)

    def __reduce_ex__(self, protocol):
        return _onto(self.detach().requires_grad_(self.requires_grad), Tensor).__reduce_ex__(protocol)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def _onto(tensor: Tensor, kind: type) -> Tensor:
    """Give a tensor its class, in place: no new node of the graph, and ``x.grad is x.grad`` stays true."""
    if isinstance(tensor, PretendTensor) == (kind is PretendTensor):
        return tensor
    parameter = isinstance(tensor, nn.Parameter)
    tensor.__class__ = kind if kind is PretendTensor or not parameter else nn.Parameter
    if parameter and kind is PretendTensor:
        tensor._is_param = True  # what torch goes by for subclasses of Tensor
    return tensor


def _moved(tensor: Tensor, to_cuda: bool) -> Tensor:
    """The tensor on the other device: a copy, as between real devices."""
    if isinstance(tensor, PretendTensor) == to_cuda:
        return tensor
    return _onto(Tensor.clone(tensor), PretendTensor if to_cuda else Tensor)


def _refuse(name: str, func, args, kwargs, tensors: list[Tensor], result_on_cuda: bool) -> None:
    """Raise what CUDA would raise for this call, if anything."""
    on_cuda = [isinstance(tensor, PretendTensor) for tensor in tensors]
    generator = kwargs.get('generator')
    if generator is not None and isinstance(generator, PretendGenerator) != result_on_cuda:
        kinds = ('cuda', 'cpu') if result_on_cuda else ('cpu', 'cuda')
        raise RuntimeError("Expected a '{}' device type for generator but found '{}'".format(*kinds))
    if not any(on_cuda):
        return
    if name in ('numpy', '__array__'):
        raise TypeError(NO_NUMPY)
    if name == '__set__' and func == Tensor.grad.__set__ and not all(on_cuda):
        raise RuntimeError('assigned grad has data located on a different device')
    if name in INDEXING:
        index = [leaf for leaf in tree_flatten(args[1])[0] if isinstance(leaf, Tensor)]
        if not on_cuda[0] and any(isinstance(leaf, PretendTensor) and leaf.dim() for leaf in index):
            raise RuntimeError('indices should be either on cpu or on the same device as the indexed tensor (cpu)')
        value = args[2] if len(args) > 2 else None  # where only integers and slices index, it is copied
        if isinstance(value, Tensor) and value.dim() and index and isinstance(value, PretendTensor) != on_cuda[0]:
            raise RuntimeError(TWO_DEVICES)
    elif name not in ANY_DEVICE and not all(on_cuda) and not _inside_backward:
        in_place = not on_cuda[0] and (name.startswith('__i') or (name.endswith('_') and not name.endswith('__')))
        if in_place or any(
            not known and (tensor.dim() or name in NO_SCALARS) for known, tensor in zip(on_cuda, tensors)
        ):
            raise RuntimeError(f'{TWO_DEVICES} (when calling {name})')
    if name in PRODUCTS and not tensors[0].is_floating_point():
        raise RuntimeError(f'"{name}" not implemented for {tensors[0].dtype} on CUDA')
    if torch.are_deterministic_algorithms_enabled() and _not_deterministic(name, func, args, kwargs, tensors):
        raise RuntimeError(
            f'{name} does not have a deterministic implementation, but you set torch.use_deterministic_algorithms(True)'
        )


def _not_deterministic(name: str, func, args, kwargs, tensors: list[Tensor]) -> bool:
    """Whether torch lists the call as raising, on CUDA, where deterministic algorithms are asked for."""
    gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if name in NOT_DETERMINISTIC or (gradient and name in NOT_DETERMINISTIC_BACKWARD):
        return True
    if name.startswith('adaptive_avg_pool') and gradient:  # to one pixel, it is a mean
        return set(tree_flatten(args[1])[0]) != {1}
    if name in ('cumsum', 'cumsum_'):
        return tensors[0].is_floating_point()
    if func in (F.interpolate, F.pad) and gradient:  # torch computes "bilinear" in parts that are deterministic
        return bool(
            {'linear', 'bicubic', 'reflect'} & {leaf for leaf in (*args, *kwargs.values()) if isinstance(leaf, str)}
        )
    return (name == 'bincount' and len(tensors) > 1) or (name == 'median' and (len(args) > 1 or 'dim' in kwargs))


def _call(func, args, kwargs):
    """Call a function of torch as on a machine with CUDA: checks, the call on the CPU, and the class of what comes out."""
    name = getattr(func, '__name__', '')
    if func is torch.device or name == '_parse_to':  # making and reading a device pass here as well
        return func(*args, **kwargs)
    if func is Tensor.backward:  # hooks and recomputed blocks run inside: they, too, are to see the device
        return _backward(*args, **kwargs)
    tensors = _tensors((args, kwargs), [])
    on_cuda = _result_on_cuda(name, args, kwargs, tensors)
    with torch._C.DisableTorchFunction():
        if not on_cuda and kwargs.get('generator') is None and not any(isinstance(t, PretendTensor) for t in tensors):
            return func(*args, **kwargs)
        _refuse(name, func, args, kwargs, tensors, on_cuda)
        if name in ('cuda', 'cpu'):
            return _moved(args[0], on_cuda)
        if name == 'get_device':
            return 0
        if name in ('pin_memory', 'is_pinned'):
            return args[0] if name == 'pin_memory' else False
        if name == '__set__' and func == Tensor.data.__set__:
            _onto(args[0], PretendTensor if isinstance(args[1], PretendTensor) else Tensor)
        elif name in ('to', 'type_as', 'as_tensor', 'asarray') and isinstance(args[0], Tensor):
            args = (_moved(args[0], on_cuda), *args[1:])
        if 'device' in kwargs or name == 'to':
            args, kwargs = tree_map(_cpu_for_cuda, (args, dict(kwargs)))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            return _placed(result, on_cuda, tensors)
        if isinstance(result, (tuple, list)) and not isinstance(result, torch.Size):
            return tree_map(
                lambda value: _placed(value, on_cuda, tensors) if isinstance(value, Tensor) else value, result
            )
        return result


def _tensors(value, found: list[Tensor]) -> list[Tensor]:
    """The tensors among arguments, lists of tensors looked into."""
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _tensors(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _tensors(item, found)
    return found


def _backward(loss, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """``Tensor.backward`` as torch writes it, except that it does not ask the mode once more."""
    gradient = torch.ones_like(loss) if gradient is None else gradient
    retain_graph = create_graph if retain_graph is None else retain_graph
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs or ())
    options = dict(allow_unreachable=True, accumulate_grad=True)
    _inside_backward.append(loss)
    try:
        _engine_run_backward((loss,), (gradient,), retain_graph, create_graph, inputs, **options)
    finally:
        _inside_backward.pop()


def _result_on_cuda(name: str, args, kwargs, tensors: list[Tensor]) -> bool:
    """Whether what a call returns is on the device."""
    named = kwargs.get('device')
    if name == 'to' and len(args) > 1 and not isinstance(args[1], torch.dtype):
        named = args[1] if named is None else named
        if isinstance(named, Tensor):
            return isinstance(named, PretendTensor)
    if named is not None:
        return _is_cuda(named)
    if name == 'cuda' or name == 'cpu':
        return name == 'cuda'
    if name == 'type_as':
        return isinstance(args[1], PretendTensor)
    if name in ('tensor', 'as_tensor', 'asarray'):
        return isinstance(args[0], PretendTensor)
    if name in ANY_DEVICE or name in INDEXING:
        return any(isinstance(tensor, PretendTensor) for tensor in tensors[:1])
    return any(isinstance(tensor, PretendTensor) for tensor in tensors)


def _placed(value: Tensor, on_cuda: bool, given: list[Tensor]) -> Tensor:
    """The result of a call, on its device; one of the operands itself stays what it is."""
    if any(value is tensor for tensor in given):
        return value
    return (
        _onto(value, PretendTensor) if on_cuda else _onto(value, Tensor) if isinstance(value, PretendTensor) else value
    )


def _cpu_for_cuda(leaf):
    if isinstance(leaf, torch.device) or (isinstance(leaf, str) and leaf.startswith('cuda')):
        return CPU if _is_cuda(leaf) else leaf
    return leaf


class PretendCuda(TorchFunctionMode):
    """Looks at every call of torch's Python interface while it is entered, those of factories included."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.backward:
            with self:
                return _call(func, args, kwargs or {})
        return _call(func, args, kwargs or {})


_Generator = torch.Generator


class PretendGenerator(_Generator):
    """``torch.Generator('cuda')``; of other devices, a real one."""

    def __new__(cls, device='cpu'):
        return _Generator.__new__(cls) if _is_cuda(device) else _Generator(device)

    def __init__(self, device='cpu'):
        super().__init__()

    @property
    def device(self):
        return CUDA


def _autocast_methods() -> dict:
    """Methods of ``torch.autocast`` that turn one of CUDA into one of the CPU, which ``torch.is_autocast_enabled('cuda')`` sees."""
    init, enter, leave = (getattr(torch.autocast, name) for name in ('__init__', '__enter__', '__exit__'))

    def of_cpu(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        self.before = [] if device_type == 'cuda' else None
        if device_type == 'cuda':
            device_type, dtype = 'cpu', dtype or torch.float16
        init(self, device_type, dtype, enabled, cache_enabled)

    def begin(self):
        if self.before is not None:
            self.before.append(torch.is_autocast_enabled('cuda'))
            torch.set_autocast_enabled('cuda', self._enabled)
        return enter(self)

    def end(self, *error):
        if self.before is not None:
            torch.set_autocast_enabled('cuda', self.before.pop())
        return leave(self, *error)

    return dict(__init__=of_cpu, __enter__=begin, __exit__=end)


@contextlib.contextmanager
def pretend_cuda():
    """Enter a world with one CUDA device, ``cuda:0``.

    Yields:
        a dict of what was asked of ``torch.cuda``: function name to the list of devices it was called with.
    """
    asked = {}

    def answering(name, value):
        def function(device=None, *_args, **_kwargs):
            asked.setdefault(name, []).append(device)
            return value

        return mock.patch.object(torch.cuda, name, function)

    answers = dict(is_available=True, device_count=1, current_device=0, get_device_name='pretend', synchronize=None, max_memory_allocated=2**20,
                   memory_allocated=0, reset_peak_memory_stats=None, set_device=None, empty_cache=None, manual_seed=None,
                   manual_seed_all=None, get_rng_state_all=[], set_rng_state_all=None)  # fmt: skip
    load = torch.load

    def load_onto(file, map_location=None, **options):
        if not _is_cuda(map_location):
            return load(file, map_location, **options)
        return tree_map(
            lambda leaf: _moved(leaf, True) if isinstance(leaf, Tensor) else leaf, load(file, 'cpu', **options)
        )

    with contextlib.ExitStack() as stack:
        for name, value in answers.items():
            stack.enter_context(answering(name, value))
        for name, method in _autocast_methods().items():
            stack.enter_context(mock.patch.object(torch.autocast, name, method))
        stack.enter_context(mock.patch.object(torch, 'load', load_onto))
        # What a kernel saves for the backward pass is looked at inside it, where a tensor says "cpu"; recomputed, it may say "cuda".
        recomputing = functools.partial(torch.utils.checkpoint.checkpoint, determinism_check='none')
        stack.enter_context(mock.patch.object(torch.utils.checkpoint, 'checkpoint', recomputing))
        stack.enter_context(mock.patch.object(torch, 'Generator', PretendGenerator))
        stack.enter_context(mock.patch.object(mmengine.device.utils, 'DEVICE', 'cuda'))
        stack.enter_context(PretendCuda())
        yield asked
