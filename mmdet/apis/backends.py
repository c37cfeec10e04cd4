"""The network of a detector in another backend; everything beside it stays as it is.

Backbone, neck and head run in OpenVINO or ONNX Runtime, up to the raw outputs that ``predict_by_feat`` takes. Pipeline, preprocessor, decode,
NMS, the packing of composite detectors, test-time augmentation and metrics are the same code as without a backend, so that every option
of a config still holds. What torch itself can do otherwise, :mod:`mmdet.models.inference`, goes by the same names here.
"""

import argparse
import dataclasses
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..errors import ConfigError, ModelInputError
from ..export.graphs import ExportGraph, build_graph, check_target, to_onnx
from ..models.detectors import BaseDetector
from ..models.inference import InferenceOptions, WeightWatch, networks_of, prepare_networks, restore_networks

# What each backend computes in; the first is the default. 'torch' is eager.
BACKENDS = {
    'torch': ('fp32', 'bf16', 'fp16'),
    'torch-compile': ('fp32', 'bf16', 'fp16'),
    'onnxruntime': ('fp32',),
    'openvino': ('fp32', 'bf16', 'fp16'),
    'openvino-winograd': ('fp32',),
}
# Sizes of noise, in multiples of 32 or the divisor of the padding, with which an exported network is compared.
_EXAMPLES = ((2, 3), (4, 3))
# Largest relative distance of the raw outputs from those of eager float32, on noise: it finds wrong networks, not inexact ones.
_TOLERANCE = {'fp32': 1e-3, 'bf16': 0.3, 'fp16': 0.1}


@dataclasses.dataclass(frozen=True)
class BackendSpec:
    """A backend and the type that it computes in; written ``openvino:bf16``."""

    name: str = 'torch'
    precision: str = 'fp32'

    def __str__(self) -> str:
        return f'{self.name}:{self.precision}'

    @classmethod
    def read(cls, backend: str, precision: str | None = None) -> 'BackendSpec':
        """The backend of a name such as ``'openvino'`` with a precision, or of ``'openvino:bf16'``; float32 where none is named.

        Raises:
            ConfigError: an unknown backend, a precision that it does not have, or two different ones.
        """
        name, _, named = str(backend).partition(':')
        if name not in BACKENDS:
            raise ConfigError(f'must be one of {sorted(BACKENDS)}', field='backend', received=backend)
        if named and precision not in (None, named):
            raise ConfigError(f'{backend} names a precision already', field='precision', received=precision)
        precision = named or precision or BACKENDS[name][0]
        if precision not in BACKENDS[name]:
            raise ConfigError(
                f'{name} computes in {" or ".join(BACKENDS[name])}', field='precision', received=precision
            )
        return cls(name, precision)

    @property
    def library(self) -> str:
        """The package that computes."""
        return self.name.partition('-')[0]

    @property
    def is_torch(self) -> bool:
        """Whether the modules compute, in whatever way."""
        return self.library == 'torch'

    def options(self, inference: InferenceOptions) -> InferenceOptions:
        """The options of a config with what the backend says of precision and compilation.

        Raises:
            ConfigError: both name a precision, or options of torch for another backend.
        """
        if inference.amp:
            message = (
                f'goes without --amp or inference.amp: the precision is named with the backend, as in {self.name}:bf16'
            )
            raise ConfigError(message, field='backend', received=str(self))
        if not self.is_torch:
            if inference.compile:
                message = "compiles by itself: leave out inference.compile, or take backend 'torch-compile'"
                raise ConfigError(message, field='backend', received=str(self))
            return inference
        amp, compiled = self.precision != 'fp32' and self.precision, inference.compile
        return dataclasses.replace(inference, amp=amp, compile=compiled or self.name == 'torch-compile')

    def missing(self, device: str | torch.device = 'cpu') -> str | None:
        """Why the backend cannot be used here; None where it can."""
        kind = torch.device(device).type
        if not self.is_torch:
            extra = {'onnxruntime': 'onnx', 'openvino': 'openvino'}[self.library]
            try:
                __import__(self.library)
            except ImportError as error:
                return f"is not installed ({error}): pip install 'mmdet-dense[{extra}]'"
            if kind != 'cpu' and self.library == 'openvino':
                return f"runs on the CPU here, the model is on {device}: take device='cpu'"
            if self.library == 'openvino' and self.precision != 'fp32':
                from mmdet_runtime.backends import openvino_core  # only here, so that eager detectors do without it

                offered = openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
                if self.precision.upper() not in offered:
                    return f'has no {self.precision} on this CPU, which offers {", ".join(offered)}'
            return None
        if self.name == 'torch-compile' and kind == 'cpu':
            compilers = [os.environ.get('CXX'), 'g++', 'clang++']
            if not any(shutil.which(name) for name in compilers if name):
                return 'needs a C++ compiler on the CPU: none of $CXX, g++ and clang++ is there'
        return None


class CompiledNetwork(nn.Module):
    """Images to the raw outputs of a detector, computed by OpenVINO or ONNX Runtime.

    It takes images of any size that the detector takes. What a backend does when it first sees a size (compile, plan its memory)
    is counted, so that it can be told from the time of later calls.

    Args:
        detector: the detector whose network it is.
        spec: the backend.
        threads: CPU threads; None takes as many as torch.
        cache_dir: folder for compiled networks, OpenVINO only.

    Attributes:
        description: backend, version and precision.
        first_calls: calls with a size (B, H, W) that was new.

    Raises:
        ConfigError: the backend cannot be used here, the network cannot be exported, or it gives other outputs there.
    """

    def __init__(
        self,
        detector: BaseDetector,
        spec: BackendSpec,
        threads: int | None = None,
        cache_dir: str | None = None,
    ):
        super().__init__()
        self.spec, self.first_calls, self._sizes = spec, 0, set[tuple[int, ...]]()
        self._weights = [*detector.parameters(), *detector.buffers()]
        device = self._weights[0].device
        reason = spec.missing(device)
        if reason:
            raise ConfigError(f'{spec.name} {reason}', field='backend', received=str(spec))
        floats = {weight.dtype for weight in self._weights if weight.is_floating_point()}
        if floats != {torch.float32}:
            raise ConfigError('needs weights in float32', field='backend', received=sorted(map(str, floats)))
        training, before = detector.training, detector.backend_network
        detector.eval().backend_network = None
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                self._run, self.description = self._build(detector, device, threads, cache_dir)
        finally:
            detector.train(training).backend_network = before
        self._watch = WeightWatch(self._weights)

    def _build(
        self,
        detector: BaseDetector,
        device: torch.device,
        threads: int | None,
        cache_dir: str | None,
    ) -> tuple[Callable[..., Any], str]:
        """A function from images, and of two stages their sizes, to raw outputs, and what it is."""
        spec = self.spec
        from mmdet_runtime.backends import open_network  # only here, so that eager detectors do without it

        graph, name = build_graph(detector, 'raw'), type(detector.detection_head).__name__
        check_target(graph, spec.library)
        noise, expected = _examples(detector, graph, device)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'network.onnx')
            try:
                size_hw = noise[0][0].shape[2], noise[0][0].shape[3]
                to_onnx(graph, path, size_hw, winograd=spec.name == 'openvino-winograd')
            except RuntimeError as error:  # of the exporter: an operator that ONNX lacks
                reason = str(error).strip().partition('\n')[0]
                message = f'the network with a {name} cannot be exported ({reason}): take torch or torch-compile'
                raise ConfigError(message, field='backend', received=str(spec)) from error
            network = open_network(
                path.read_bytes(), backend=spec.library, device=str(device).upper(), precision=spec.precision, cache_dir=cache_dir,
                threads=threads or torch.get_num_threads(),
            )  # fmt: skip

        lock = threading.Lock()  # callers may be threads; the libraries take one call at a time

        def run(images: Tensor, *sizes: Tensor) -> Any:
            with lock:
                found = network(images.cpu().numpy(), *(values.cpu().numpy() for values in sizes))
            flat = [torch.from_numpy(found[name]).to(images.device) for name in graph.output_names]
            return graph.raw_lists(flat)

        for inputs, wanted in zip(noise, expected):
            worst = _distances(graph)(run(*inputs), wanted)
            if not worst <= _TOLERANCE[spec.precision]:
                message = f'{spec.name} gives other outputs than torch for a {name}: take torch or torch-compile'
                raise ConfigError(message, field='backend', received=f'relative distance {worst:.2g}')
        return run, network.description + (', Winograd convolutions' if spec.name == 'openvino-winograd' else '')

    @torch.no_grad()
    def forward(self, images: Tensor, *sizes_hw: Tensor) -> Any:
        """The raw outputs of the head, as ``predict_by_feat`` takes them, of (B, 3, H, W) images.

        Of a detector of two stages, what its ``batch_outputs`` gives; it needs the heights and widths (B, 2) before padding, too.

        Raises:
            ModelInputError: the weights of the detector have changed since.
        """
        if self._watch.changed(self._weights):
            message = f'the weights have changed since {self.spec.name} got them: call use_backend again'
            raise ModelInputError(message, field='backend', received=str(self.spec))
        size = (images.shape[0], *images.shape[-2:])
        if size not in self._sizes:
            self._sizes.add(size)
            self.first_calls += 1
        return self._run(images.float(), *sizes_hw)


def _examples(detector: Any, graph: ExportGraph, device: torch.device) -> tuple[list[tuple[Tensor, ...]], list[Any]]:
    """Two batches of noise of different sizes, and their raw outputs by eager torch; larger where the pyramid has levels that need it."""
    divisor = max(getattr(detector.data_preprocessor, 'pad_size_divisor', 1), 32)

    def of(unit: int) -> tuple[list[tuple[Tensor, ...]], list[Any]]:
        generator = torch.Generator().manual_seed(0)
        noise = [torch.randn(2, 3, h * unit, w * unit, generator=generator).to(device) for h, w in _EXAMPLES]
        noise = [detector.padded(images) for images in noise]
        sizes = [torch.tensor([images.shape[2:]] * 2, device=device) for images in noise]
        inputs = [*zip(noise, sizes)] if graph.needs_sizes else [(images,) for images in noise]
        return [*inputs], [detector.traced_outputs(*each) for each in inputs]

    try:
        return of(divisor)
    except RuntimeError:  # a map has become smaller than a kernel
        return of(5 * divisor)


def _distances(graph: ExportGraph) -> Callable[[Any, Any], float]:
    """The function for the raw outputs of a graph."""
    return dict(maps=_distance, regions=_distance_of_regions, queries=_distance_of_queries)[graph.raw_kind]


def _distance_of_queries(found: Any, wanted: Any) -> float:
    """:func:`_distance_of_regions` of (logits, boxes): cells whose scores tie may become other queries."""
    return _distance_of_regions(*((boxes, boxes, logits) for logits, boxes in (found, wanted)))


def _distance_of_regions(found: Any, wanted: Any) -> float:
    """:func:`_distance` of two stages: the median over the regions of that of a region's outputs from the nearest region's.

    Proposals whose scores or overlaps tie may change places, or be others.
    """
    if any(one.shape != other.shape for one, other in zip(found, wanted, strict=True)):
        return float('inf')
    worst = 0.0
    for regions, own, *outputs in zip(found[0], wanted[0], *itertools.chain.from_iterable(zip(found[2:], wanted[2:]))):
        gaps, nearest = torch.cdist(own, regions).min(1)
        distances = [gaps / own.norm(dim=1).clamp(min=1e-6)]
        for one, other in zip(outputs[::2], outputs[1::2]):
            distances.append((one[nearest] - other).norm(dim=1) / other.norm(dim=1).clamp(min=1e-6))
        worst = max([worst, *(float(each.median()) for each in distances)])
    return worst


def _distance(found: Any, wanted: Any) -> float:
    """Largest distance of a tensor from the one that is wanted, relative to its length; infinite where shapes differ."""
    pairs = list(zip(itertools.chain.from_iterable(found), itertools.chain.from_iterable(wanted), strict=True))
    if any(one.shape != other.shape for one, other in pairs):
        return float('inf')
    return max(float((one - other).norm() / other.norm().clamp(min=1e-6)) for one, other in pairs)


def read_backend(backend: str | None, precision: str | None = None) -> BackendSpec | None:
    """The backend that two arguments or options name, ``'torch'`` for a precision alone; None where both are None.

    Raises:
        ConfigError: see :meth:`BackendSpec.read`.
    """
    return None if backend is None and precision is None else BackendSpec.read(backend or 'torch', precision)


def use_backend(
    model: nn.Module,
    backend: str,
    precision: str | None = None,
    *,
    threads: int | None = None,
    cache_dir: str | None = None,
) -> nn.Module:
    """Let a backend compute the network of a detector, or those of all stages of a composite one; in place.

    It computes predictions and raw outputs in evaluation mode, into which it puts the model; losses and training are left to torch. Weights
    must not change afterwards. The first call with images of a new size takes longer.

    Args:
        model: a detector of one stage (backbone, neck, dense head), two, or of transformers, or a composite detector of such; for torch any detector.
        backend: ``'openvino'``, ``'openvino-winograd'`` (fewer multiplications), ``'onnxruntime'``, ``'torch-compile'``, or ``'torch'``, which undoes the call; also with the precision,
            ``'openvino:bf16'``.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``; the last two with OpenVINO where the CPU computes in them, with torch by autocast.
        threads: CPU threads of OpenVINO and ONNX Runtime; None takes as many as torch.
        cache_dir: folder in which OpenVINO keeps compiled networks, so that the next start is faster.

    Returns:
        the model.

    Raises:
        ConfigError: an unknown backend or precision, one that cannot be used here, or a detector that it cannot compute.
    """
    return prepare_for(model, BackendSpec.read(backend, precision), threads=threads, cache_dir=cache_dir)


def prepare_for(
    model: nn.Module,
    spec: BackendSpec | None,
    inference: InferenceOptions | dict | None = None,
    *,
    threads: int | None = None,
    cache_dir: str | None = None,
) -> nn.Module:
    """:func:`use_backend` with the ``inference`` dict of a config; without a backend, what that says alone."""
    options = InferenceOptions.read(inference)
    if spec is not None:
        options = spec.options(options)
    detectors: list[Any] = networks_of(model)
    networks: list[CompiledNetwork | None] = [None] * len(detectors)
    if spec is not None and not spec.is_torch:
        for detector in detectors or [model]:
            _check_detector(detector, spec)
        restore_networks(model.eval())
        # All before the first is set: a model of which a part cannot be compiled stays as it is.
        compiled = [CompiledNetwork(detector, spec, threads, cache_dir) for detector in detectors]
        networks = [*compiled]
        count = f', {len(compiled)} detectors' if len(compiled) > 1 else ''
        print_log(f'Inference: network by {compiled[0].description}{count}; the rest by torch', logger='current')
    elif spec is not None and (reason := spec.missing(next(model.parameters()).device)):
        raise ConfigError(f'{spec.name} {reason}', field='backend', received=str(spec))
    for detector, network in zip(detectors, networks):
        if network is not None or getattr(detector, 'backend_network', None) is not None:
            detector.backend_network = network
    prepare_networks(model, options)
    return model


def _check_detector(detector: Any, spec: BackendSpec) -> None:
    """Raise unless the predictions of the detector come from its raw outputs and nothing else."""
    kind = type(detector)
    if not hasattr(detector, 'backend_network'):
        message = (
            f'{spec.name} computes detectors of one or two stages and of transformers, those with a backend_network of their own, and composite '
            'detectors of these; others run in torch, also as torch:bf16 and torch-compile'
        )
        raise ConfigError(message, field='backend', received=kind.__name__)
    own = detector.own_steps()
    if own:
        message = f'{kind.__name__} has a {own[0]} of its own, which {spec.name} would pass over'
        raise ConfigError(message, field='backend', received=str(spec))


def first_calls(model: nn.Module) -> int:
    """How often the networks of a model met a size that was new to them, for which they compile or plan."""
    compiled = sum(len(getattr(part, 'compiled_sizes', None) or ()) for part in networks_of(model))
    return compiled + sum(part.first_calls for part in model.modules() if isinstance(part, CompiledNetwork))


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """``--backend`` and ``--backend-precision`` of a tool that predicts."""
    parser.add_argument(
        '--backend', metavar='NAME', help=f'what computes the network: {", ".join(BACKENDS)}; default: torch'
    )
    parser.add_argument(
        '--backend-precision',
        metavar='TYPE',
        help='fp32 (default), or bf16 or fp16 where the backend and the machine have it',
    )
