"""How the networks of a detector run at inference: precision, memory layout, folded batch norms; compiled ones by ``compilation.py``.

Nothing here changes a parameter, a buffer or a name of the state dict. Convolutions keep their weights, and beside them a copy as the
inference wants it: with the batch norm folded in, in half precision, channels last. ``model.train()``, loading weights, and
:func:`restore_networks` take the copies away.
"""

import contextlib
import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.config.reading import COMPILE_MODES
from mmdet.errors import ConfigError
from mmdet.utils.checks import is_int

from .compilation import CompiledGraph, compile_network, compiled_pass, undo_compilation

AMP_TYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
_TYPE_NAMES = {dtype: name for name, dtype in AMP_TYPES.items()}
# Folded batch norms must leave the outputs equal up to this share of their size.
_TOLERANCE = 1e-5
_PROBE_SIDE = 64
_COPIES = ('ready_weight', 'ready_bias')
# What torch computes itself; a subclass with a pass of its own is left alone.
_NORM_PASSES = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)
_Decode = TypeVar('_Decode', bound=Callable)


@dataclasses.dataclass(frozen=True)
class InferenceOptions:
    """The ``inference`` dict of a config.

    Attributes:
        amp: False or None for float32; ``'bf16'`` or ``'fp16'``; True for the usual one of the device: float16 on a GPU, bfloat16 elsewhere.
        channels_last: lay images and weights of convolutions out channels last; ``'auto'`` on CPUs, and on GPUs in half precision.
        fuse: fold batch norms into the convolutions before them; ``'auto'`` where the outputs stay equal to 1e-5, which is tried out on a
            small random image; True in any case.
        compile: ``torch.compile`` backbone, neck and dense head. True, or the name of a mode of ``torch.compile``: once for images of any
            size; a number: for each padded size, and for so many at most. Images of further sizes then run as without compilation.
    """

    amp: bool | str | None = None
    channels_last: bool | str = 'auto'
    fuse: bool | str = 'auto'
    compile: bool | int | str = False

    def __post_init__(self) -> None:
        if self.amp not in (None, True, False, *AMP_TYPES):
            message = f'must be True, False or one of {sorted(AMP_TYPES)}'
            raise ConfigError(message, field='inference.amp', received=self.amp)
        for name in ('channels_last', 'fuse'):
            if getattr(self, name) not in (True, False, 'auto'):
                message = "must be True, False or 'auto'"
                raise ConfigError(message, field=f'inference.{name}', received=getattr(self, name))
        if not isinstance(self.compile, bool) and self.compile not in COMPILE_MODES and not is_int(self.compile, 0):
            message = f'must be True, False, the largest number of sizes to compile or one of {COMPILE_MODES}'
            raise ConfigError(message, field='inference.compile', received=self.compile)

    @classmethod
    def read(cls, settings: Any = None, **given: Any) -> 'InferenceOptions':
        """The options of a config's ``inference``, or those themselves; arguments that are not None come first.

        Raises:
            ConfigError: no dict, an unknown key, or a value that is not allowed.
        """
        if isinstance(settings, cls):
            settings = dataclasses.asdict(settings)
        known = [field.name for field in dataclasses.fields(cls)]
        if settings is not None and not (isinstance(settings, Mapping) and set(settings) <= set(known)):
            raise ConfigError(f'must be a dict of some of {known}', field='inference', received=settings)
        return cls(**{**(settings or {}), **{key: value for key, value in given.items() if value is not None}})

    def dtype(self, device: torch.device) -> torch.dtype | None:
        """The type that autocast computes in; None for float32."""
        if self.amp is True:
            return torch.float16 if device.type == 'cuda' else torch.bfloat16
        return AMP_TYPES[self.amp] if isinstance(self.amp, str) else None


# ------------------------------------------------------------------------------------------------ autocast


class InferenceNetwork(BaseModule):
    """What :func:`prepare_networks` sets of a detector, and the context in which its network then predicts."""

    amp_dtype: torch.dtype | None = None
    compiled_network: CompiledGraph | None = None  # images to raw outputs, where one function gives all that is decoded
    compiled_sizes: set[tuple[int, ...]] | None = None  # of the images that a compiled network has seen
    most_compiled_sizes: int | None = None
    _ready: 'tuple[InferenceOptions, WeightWatch] | None' = (
        None  # options, and the weights as they were when it was prepared
    )

    def inference_context(self, inputs: Any) -> contextlib.AbstractContextManager:
        """Autocast as prepared, and of a compiled network a limit of the sizes that are compiled. ``inputs`` are the images of the pass.

        Weights that were changed in place since then are noticed here, and the network is prepared anew.
        """
        if self._ready is None or self.training or torch.compiler.is_compiling():
            return contextlib.nullcontext()
        if self._ready[1].changed(_weights(self)):
            _prepare(self, self._ready[0])
        stack = contextlib.ExitStack()
        if self.amp_dtype is not None:
            stack.enter_context(torch.autocast(inputs.device.type, dtype=self.amp_dtype))
        if self.compiled_sizes is not None:
            stack.enter_context(compiled_pass(self, tuple(inputs.shape)))
        return stack

    def __getstate__(self) -> dict:
        """A copy compiles anew: the compiled function is that of this network."""
        return {**super().__getstate__(), 'compiled_network': None}


def full_precision(decode: _Decode) -> _Decode:
    """Decorate a method that turns raw outputs into boxes: it runs outside autocast, and its tensors are float32 or wider.

    The sum over bins, centres and boxes in half precision are wrong by pixels in large images, and cost AP.
    """

    @functools.wraps(decode)
    def outside(self: Any, *args: Any, **kwargs: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for device in ('cpu', 'cuda'):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            return decode(self, *map(_wide, args), **{name: _wide(value) for name, value in kwargs.items()})

    return cast(_Decode, outside)


def _wide(value: Any) -> Any:
    """Tensors, also in lists and tuples, of half precision in float32; anything else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _TYPE_NAMES else value
    if type(value) in (list, tuple) and any(isinstance(item, (Tensor, list, tuple)) for item in value):
        return type(value)(map(_wide, value))
    return value


# ------------------------------------------------------------------------------------------------ convolutions


class _Prepared(nn.Module):
    """What a prepared convolution and a folded batch norm share: they become what they were when one of them trains or gets weights."""

    def train(self, mode: bool = True) -> Any:
        if not mode:
            return super().train(mode)
        _release(self)
        return self.train(mode)  # now that of the layer's own class

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        _release(self)
        self._load_from_state_dict(*args, **kwargs)  # likewise


class PreparedConv2d(_Prepared, nn.Conv2d):
    """A convolution that computes by a copy of its weights; those themselves, in the state dict, are as before."""

    ready_weight: Tensor
    ready_bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W'), in the type of the copy."""
        return self._conv_forward(x.to(self.ready_weight.dtype), self.ready_weight, self.ready_bias)


class PointwiseConv2d(PreparedConv2d):
    """A 1 x 1 convolution in float32 that oneDNN computes, to which torch itself gives it only with more than one thread."""

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`PreparedConv2d`."""
        usual = x.device.type != 'cpu' or x.numel() == 0 or self.ready_weight.dtype != torch.float32
        if usual or torch.compiler.is_compiling() or torch.is_autocast_enabled('cpu'):
            return super().forward(x)
        weight, bias = self.ready_weight, self.ready_bias
        return torch.mkldnn_convolution(x.float(), weight, bias, (0, 0), self.stride, self.dilation, self.groups)


class FoldedNorm(_Prepared, nn.BatchNorm2d):
    """A batch norm whose work the convolution before it does."""

    def forward(self, x: Tensor) -> Tensor:
        """Its input."""
        return x


def _prepare_conv(
    conv: nn.Conv2d,
    norm: _BatchNorm | None,
    dtype: torch.dtype | None,
    layout: torch.memory_format,
    kind: type[PreparedConv2d],
) -> None:
    weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
    if norm is not None:
        assert norm.running_mean is not None and norm.running_var is not None  # pairs are made of such norms only
        # In float64, so that folding rounds once.
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.detach().double()
        shift = -norm.running_mean.double() * scale
        shift = shift if norm.bias is None else shift + norm.bias.detach().double()
        shift = shift if bias is None else shift + bias.double() * scale
        weight, bias = (weight.double() * scale[:, None, None, None]).to(weight.dtype), shift.to(weight.dtype)
    cast = dtype or weight.dtype
    _swap(conv, kind, (conv,) if norm is None else (conv, norm))
    # Copies in any case: a later change of the weights in place must not reach half of them.
    conv.register_buffer('ready_weight', weight.to(cast, copy=True, memory_format=layout), persistent=False)
    conv.register_buffer('ready_bias', None if bias is None else bias.to(cast, copy=True), persistent=False)
    if norm is not None:
        _swap(norm, FoldedNorm, (conv, norm))


def _is_pointwise(conv: nn.Conv2d) -> bool:
    plain = conv.kernel_size == (1, 1) and conv.groups == 1 and conv.padding == (0, 0)
    return plain and conv.weight.device.type == 'cpu' and conv.weight.dtype == torch.float32


@functools.cache
def _mkl_is_slow() -> bool:
    """Whether MKL, which torch takes for 1 x 1 convolutions on one thread, is slower than oneDNN: on CPUs of AMD it has a third to a half of its rate."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    try:
        return 'AuthenticAMD' in Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace')
    except OSError:  # not Linux
        return False


def _swap(layer: nn.Module, kind: type, pair: tuple[nn.Module, ...]) -> None:
    layer.__dict__['_was'] = (layer.__class__, pair)
    layer.__class__ = kind


def _release(layer: Any) -> None:
    """Give a prepared layer, and the one it is paired with, their own classes back."""
    for one in layer.__dict__['_was'][1]:
        if '_was' in one.__dict__:
            one.__class__, _ = one.__dict__.pop('_was')
        for name in _COPIES:
            one._buffers.pop(name, None)
            one._non_persistent_buffers_set.discard(name)


# ------------------------------------------------------------------------------------------------ whole models


def networks_of(model: nn.Module) -> list[Any]:
    """The detector itself, or the detectors of a composite one, each once."""
    return [
        module for module in model.modules()
        if isinstance(getattr(module, 'backbone', None), nn.Module) and not type(module).__module__.startswith('transformers.')  # parts of a detector
    ]  # fmt: skip


def prepare_networks(model: nn.Module, options: InferenceOptions | dict | None = None) -> str:
    """Make the networks of a model ready for inference, in evaluation mode; prepared ones are prepared anew.

    Returns:
        what was done and why, one line; also logged, once for each different line.

    Raises:
        ConfigError: mixed precision or compilation of a model in which there is no detector with a backbone.
    """
    options = InferenceOptions.read(options)
    networks = [
        network for network in networks_of(model)
        if next(network.parameters(), None) is not None and getattr(network, 'backend_network', None) is None  # another library computes it
    ]  # fmt: skip
    model.eval()
    for field in ('amp', 'compile'):
        if getattr(options, field) and not (networks and all(isinstance(one, InferenceNetwork) for one in networks)):
            message = 'needs a detector with a backbone, on the BaseDetector of this package'
            raise ConfigError(message, field=f'inference.{field}', received=type(model).__name__)
    line = '; '.join(dict.fromkeys(_prepare(network, options) for network in networks))
    if line:
        _say(f'Inference: {line} (config key "inference")')
    return line


@functools.lru_cache(maxsize=256)
def _say(line: str) -> None:
    print_log(line, logger='current')


def restore_networks(model: nn.Module) -> None:
    """Undo :func:`prepare_networks`."""
    for module in model.modules():
        if isinstance(module, _Prepared):
            _release(module)
    for network in networks_of(model):
        for name in ('amp_dtype', '_ready'):
            network.__dict__.pop(name, None)
        _set_layout(network, None)
        undo_compilation(network)


def _set_layout(network: nn.Module, layout: torch.memory_format | None) -> None:
    preprocessor: Any = getattr(network, 'data_preprocessor', None)
    if hasattr(preprocessor, 'inference_format'):
        preprocessor.inference_format = layout


def _prepare(network: Any, options: InferenceOptions) -> str:
    """Prepare one network; returns what was done, and why."""
    restore_networks(network)
    parameter = next(network.parameters())
    device = parameter.device
    dtype = options.dtype(device) if parameter.dtype == torch.float32 else None
    said = [_TYPE_NAMES[dtype] if dtype else str(parameter.dtype).removeprefix('torch.')]
    if dtype is not None:
        network.amp_dtype = dtype
        said[0] += ' by autocast, boxes in float32'
        if device.type == 'cpu' and not _fast_on_cpu(dtype):
            said[0] += f' (this CPU has no instructions for {_TYPE_NAMES[dtype]}: float32 may be faster)'
    gains = device.type == 'cpu' or dtype is not None
    last = gains if options.channels_last == 'auto' else bool(options.channels_last)
    why = 'faster here' if last else f'needs half precision on {device.type}'
    said.append(
        f'channels last {"on" if last else "off"}: {why if options.channels_last == "auto" else "as asked for"}'
    )
    layout = torch.channels_last if last else torch.contiguous_format
    _set_layout(network, layout if last else None)
    said.append(_convolutions(network, options, dtype, layout))
    if any(isinstance(module, PointwiseConv2d) for module in network.modules()):
        said.append('1 x 1 convolutions by oneDNN: MKL is slow on this CPU')
    if options.compile:
        said.append(compile_network(network, options.compile))
    network._ready = options, WeightWatch(_weights(network))
    return ', '.join(said)


def _weights(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, without the copies for inference."""
    found = []
    for module in network.modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and name not in _COPIES:
                found.append(tensor)
    return found


class WeightWatch:
    """Notices changes of tensors, whichever way they are made: in place, by another tensor, and through ``.data``.

    The first two leave a trace in the tensor. Writing through ``.data`` leaves none, so that eight elements of each are compared, which costs
    0.1 to 0.3 ms for a network: other weights, an average of weights or a factor are found; a single element that is set so may not be.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self._state = self._state_of(tensors)
        self._samples = defaultdict[torch.device, list[Tensor]](list)
        for one in tensors:
            dense = one.is_contiguous() or (one.dim() == 4 and one.is_contiguous(memory_format=torch.channels_last))
            if one.is_floating_point() and one.numel() and dense and not one.is_meta:
                step = -(-one.numel() // 8)
                # A view: it shows what is written to the tensor.
                sample = one.detach().as_strided((-(-one.numel() // step),), (step,), one.storage_offset())
                self._samples[one.device].append(sample)
        self._values = self._read()

    @staticmethod
    def _state_of(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
        return [(0 if one.is_inference() else one._version, one.data_ptr()) for one in tensors]

    def _read(self) -> list[Tensor]:
        return [torch.cat(samples).nan_to_num() for samples in self._samples.values()]

    def changed(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the tensors, in the same order, are not what they were."""
        return self._state != self._state_of(tensors) or not all(map(torch.equal, self._values, self._read()))


def _fast_on_cpu(dtype: torch.dtype) -> bool:
    names = {
        torch.bfloat16: ('_is_amx_tile_supported', '_is_avx512_bf16_supported'),
        torch.float16: ('_is_amx_fp16_supported',),
    }
    return any(getattr(torch.cpu, name, bool)() for name in names[dtype])


def _convolutions(
    network: Any, options: InferenceOptions, dtype: torch.dtype | None, layout: torch.memory_format
) -> str:
    """Prepare the convolutions of a network; returns a sentence about the batch norms."""
    pairs: dict[nn.Conv2d, _BatchNorm] = {}
    norms = [module for module in network.modules() if type(module).forward in _NORM_PASSES]
    said = 'batch norms: none' if not norms else f'{len(norms)} batch norms not folded: as asked for'
    reference: list[Tensor] = []
    if norms and options.fuse:
        try:
            reference, pairs = _outputs_and_pairs(network)
        except Exception as error:  # a detector of the user's own may raise anything on an image of this size
            said = f'{len(norms)} batch norms not folded: the network could not be tried out ({type(error).__name__}: {error})'
    by_one_dnn = dtype is None and layout == torch.channels_last and _mkl_is_slow()
    for folds in (pairs, {}):
        for conv in network.modules():
            if type(conv) is nn.Conv2d and (conv in folds or dtype is not None or layout != torch.contiguous_format):
                kind = PointwiseConv2d if by_one_dnn and _is_pointwise(conv) else PreparedConv2d
                _prepare_conv(conv, folds.get(conv), None if folds else dtype, layout, kind)
        if not folds:
            break
        difference = _difference(reference, _outputs(network))
        if difference <= _TOLERANCE or options.fuse is True:
            rest = len(norms) - len(folds)
            said = f'{len(folds)} batch norms folded, equal to {difference:.0e}' + (
                f', {rest} others kept' if rest else ''
            )
            for conv in network.modules():
                if isinstance(conv, PreparedConv2d) and dtype is not None:
                    conv.ready_weight = conv.ready_weight.to(dtype)
                    conv.ready_bias = None if conv.ready_bias is None else conv.ready_bias.to(dtype)
            break
        said = f'{len(norms)} batch norms not folded: outputs would differ by {difference:.0e}'
        for module in network.modules():
            if isinstance(module, _Prepared):
                _release(module)
    return said


def _outputs_and_pairs(network: Any) -> tuple[list[Tensor], dict[nn.Conv2d, _BatchNorm]]:
    """Outputs of a pass, and the batch norms that take the output of one convolution each, in this pass, with nothing between them."""
    made: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}
    calls: dict[nn.Conv2d, int] = defaultdict(int)
    sources: dict[_BatchNorm, list[nn.Conv2d | None]] = defaultdict(list)

    def after_conv(conv: nn.Conv2d, _: Any, output: Tensor) -> None:
        made[id(output)] = conv, output, output._version  # held, so that no other tensor gets its id
        calls[conv] += 1

    def before_norm(norm: _BatchNorm, inputs: tuple) -> None:
        conv, output, version = made.get(id(inputs[0]), (None, None, 0))
        sources[norm].append(conv if output is not None and output._version == version else None)

    handles = []
    for module in network.modules():
        if type(module) is nn.Conv2d:
            handles.append(module.register_forward_hook(after_conv))
        elif type(module).forward in _NORM_PASSES and module.running_mean is not None:
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        outputs = _outputs(network)
    finally:
        for handle in handles:
            handle.remove()
    pairs: dict[nn.Conv2d, _BatchNorm] = {}
    for norm, found in sources.items():
        conv = found[0]
        if (
            conv is not None and found == [conv] * calls[conv]
        ):  # a convolution that other norms or layers share has more calls
            pairs[conv] = norm
    return outputs, pairs


@torch.no_grad()
def _outputs(network: Any) -> list[Tensor]:
    """All feature maps, and all raw outputs of the dense head, for a small random image: one row of float32 numbers of each."""
    divisor = getattr(getattr(network, 'data_preprocessor', None), 'pad_size_divisor', 1) or 1
    side = -(-_PROBE_SIDE // divisor) * divisor
    parameter = next(network.parameters())
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 4 - 2
    image = image.to(parameter.device, parameter.dtype)
    flags: contextlib.AbstractContextManager = contextlib.nullcontext()
    if parameter.device.type == 'cuda':  # TF32 differs by more than what is looked for
        flags = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
    with flags, torch.autocast(parameter.device.type, enabled=False):
        maps = network.extract_feat(image)
        head = getattr(network, 'bbox_head', None) or getattr(network, 'rpn_head', None)
        found = [[*_tensors(maps)], [*_tensors(head(maps))] if isinstance(head, nn.Module) else []]
    return [torch.cat([tensor.float().flatten() for tensor in tensors]) for tensors in found if tensors]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Sequence):
        for item in value:
            yield from _tensors(item)


def _difference(reference: list[Tensor], found: list[Tensor]) -> float:
    """The root of the mean squared difference, as a share of that of the reference; the largest of the rows, infinite where one is not finite."""
    # Not the largest difference: a group norm of a map of one cell makes much of rounding.
    shares = [
        ((one - other).norm() / one.norm().clamp(min=1e-12)).item() for one, other in zip(reference, found, strict=True)
    ]
    return max(share if share == share else float('inf') for share in shares)
