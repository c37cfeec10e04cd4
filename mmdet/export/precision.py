"""Exported networks in less than 32 bits: fp16 and int8 of ONNX files, OpenVINO files of every precision.

Only the network is reduced, never the decoding of boxes behind it: coordinates in bfloat16 have steps of 4 pixels above 512, and an NMS on rounded
boxes keeps others. Where the network ends is read from the graph itself (:func:`network_part`), hence not from names that an exporter may change.
"""

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmdet_runtime.backends import keeps_signal_stack

from ..errors import ConfigError, DataError

# What can be computed by whom: ONNX Runtime has no bfloat16 on CPUs; in a file of torch.export the weights have the type of the computation.
PRECISIONS: dict[str, tuple[str, ...]] = {
    'onnx': ('fp32', 'fp16', 'int8'),
    'openvino': ('fp32', 'fp16', 'bf16', 'int8'),
    'torch-export': ('fp32', 'fp16', 'bf16'),
}
Sample = dict[str, np.ndarray]  # the inputs of a network by name
_PACKAGES = {
    'onnx': 'onnx',
    'onnxruntime': 'onnx',
    'openvino': 'openvino',
    'nncf': 'openvino',
}  # and the extras that bring them

_WEIGHTED = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'Convolution', 'GroupConvolution', 'ConvolutionBackpropData')
_SELECTING = ('TopK', 'NonMaxSuppression')


class GraphNode(NamedTuple):
    """A node of a network's graph; ``weights`` are the shapes of its constant inputs."""

    name: str
    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    weights: Sequence[Sequence[int]] = ()


def check_precision(to: str, precision: str) -> None:
    """Raise a ConfigError for an unknown target, or a precision that it does not have."""
    if to not in PRECISIONS:
        raise ConfigError(f'must be one of {list(PRECISIONS)}', field='--to', received=to)
    if precision not in PRECISIONS[to]:
        others = [name for name, known in PRECISIONS.items() if precision in known]
        hint = f'; {precision} is for {" and ".join(others)}' if others else ''
        message = f'must be one of {list(PRECISIONS[to])} for {to}{hint}'
        raise ConfigError(message, field='--precision', received=precision)


def library(name: str) -> Any:
    """A package that only exports need.

    Raises:
        ConfigError: it is not installed; the message names the extra that brings it.
    """
    # OpenVINO and NNCF report each conversion to their makers, from a child process that waits for the network; they can do without that module.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition('.')[0]
        message = f"the export needs {top} ({error}): pip install -c constraints.txt 'mmdet-dense[{_PACKAGES[top]}]'"
        raise ConfigError(message, field='--to') from error


def network_part(nodes: Sequence[GraphNode]) -> list[str]:
    """Names of the nodes that belong to the network proper, in the order of the graph.

    These are the layers with weights, and what lies before one of them unless it follows a selection (top-k, NMS). So what turns outputs into boxes is
    left out, proposals of a first stage included, and their sum over the bins of a distribution, whose constant is a mere vector.

    Args:
        nodes: all nodes, each after those that it takes its inputs from; the input of the pixels is ``image``.
    """
    weighted = {node.name for node in nodes if node.kind in _WEIGHTED and any(map(_is_matrix, node.weights))}
    selected: set[str] = set()  # tensors behind a selection
    pixels = {'image'}  # tensors that are computed from pixels, and not from the size of the image alone
    for node in nodes:
        if node.kind not in ('Shape', 'ShapeOf') and pixels.intersection(node.inputs):
            pixels.update(node.outputs)
        if node.kind in _SELECTING or selected.intersection(node.inputs):
            selected.update(node.outputs)
    needed: set[str] = set()  # tensors that a layer with weights needs
    part = []
    for node in reversed(nodes):
        if pixels.intersection(node.outputs) and (node.name in weighted or needed.intersection(node.outputs)):
            needed.update(node.inputs)
            if node.name in weighted or not selected.intersection(node.outputs):
                part.append(node.name)
    return part[::-1]


def _before_selections(nodes: Sequence[GraphNode]) -> set[str]:
    """Names of the nodes that follow no selection."""
    selected: set[str] = set()
    names = set()
    for node in nodes:
        if node.kind in _SELECTING or selected.intersection(node.inputs):
            selected.update(node.outputs)
        else:
            names.add(node.name)
    return names


def _is_matrix(shape: Sequence[int]) -> bool:
    return sum(side > 1 for side in shape) >= 2


def reduce_onnx(
    source: Path, target: Path, precision: str, samples: Callable[[], Iterable[Sample]], *, symmetric: bool = False
) -> None:
    """Write an ONNX file of fp32 as one of ``'fp16'`` or ``'int8'``.

    Int8 is static quantisation with the scales in the graph (QDQ): weights by channel, activations by tensor, from the least to the greatest value that the
    samples give.

    Args:
        source, target: the files; they must not be the same.
        precision: ``'fp16'`` or ``'int8'``.
        samples: gives the calibration inputs anew at each call.
        symmetric: int8 activations with a zero point of 0, as TensorRT takes them; a little less exact than the default, uint8.

    Raises:
        ConfigError: a package is missing.
        DataError: there is no sample.
    """
    if precision == 'fp16':
        return _onnx_fp16(source, target)
    library('onnxruntime')
    library('onnx')
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._waiting = iter(samples())

        def get_next(self) -> Sample | None:
            return next(self._waiting, None)

    _require_sample(samples)
    prepared = target.with_name(f'{target.name}.prepared.onnx')
    with _silent():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        part = network_part(_onnx_nodes(_with_names(prepared)))
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=part,
            extra_options=dict(ActivationSymmetric=symmetric),
        )
    prepared.unlink()


def _onnx_fp16(source: Path, target: Path) -> None:
    """Weights and tensors of the network part in 16 bits, with casts where it begins and ends; the types that ONNX infers decide what is a float."""
    onnx = library('onnx')
    model = _with_names(source)
    graph, FLOAT, HALF = model.graph, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    part = set(network_part(_onnx_nodes(model)))
    known = onnx.shape_inference.infer_shapes(model).graph
    types = {item.name: item.type.tensor_type.elem_type for item in (*known.value_info, *known.input, *known.output)}
    weights = {item.name: item for item in graph.initializer if item.data_type == FLOAT}
    inside = {name for node in graph.node if node.name in part for name in node.output if types.get(name) == FLOAT}
    outside = {name for node in graph.node if node.name not in part for name in _read_by(node)}
    outside.update(item.name for item in graph.output)
    halves: dict[str, str] = {}  # 16-bit form of weights, and of tensors from outside, by name
    nodes = []
    for node in graph.node:
        if node.name not in part:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name in inside:
                node.input[place] = f'{name}_fp16'
            elif (name in weights or types.get(name) == FLOAT) and not (node.op_type == 'Resize' and place > 0):
                if name not in halves:
                    halves[name] = f'{name}_fp16'
                    if name in weights:
                        graph.initializer.append(_half(onnx, weights[name], halves[name]))
                    else:
                        nodes.append(onnx.helper.make_node('Cast', [name], [halves[name]], f'{name}_to_fp16', to=HALF))
                node.input[place] = halves[name]
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.name == 'to' and attribute.i == FLOAT:
                attribute.i = HALF
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in inside:
                node.output[place] = f'{name}_fp16'
                if name in outside:
                    nodes.append(
                        onnx.helper.make_node('Cast', [node.output[place]], [name], f'{name}_to_fp32', to=FLOAT)
                    )
    used = {name for node in nodes for name in _read_by(node)}
    kept = [item for item in graph.initializer if item.name in used]
    for repeated, content in ((graph.node, nodes), (graph.initializer, kept), (graph.value_info, [])):
        content = [*content]
        del repeated[:]
        repeated.extend(content)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _read_by(node: Any) -> Iterator[str]:
    """Names of the tensors that a node reads, also inside its branches and loops."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*attribute.g.node, *(one for graph in attribute.graphs for one in graph.node)):
            yield from _read_by(inner)
        yield from (item.name for item in attribute.g.output)


def _half(onnx: Any, weight: Any, name: str) -> Any:
    values = onnx.numpy_helper.to_array(weight)
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        message = 'holds weights above 65504, the largest number of fp16; export in another precision'
        raise ConfigError(message, field='--precision', record=weight.name, received=float(np.abs(values).max()))
    return onnx.numpy_helper.from_array(values.astype(np.float16), name)


def _with_names(path: Path) -> Any:
    """The model of a file, every node of which has a name; written back where one had none."""
    onnx = library('onnx')
    model = onnx.load(str(path))
    unnamed = [node for node in model.graph.node if not node.name]
    for number, node in enumerate(unnamed):
        node.name = f'unnamed_{number}_{node.op_type}'
    if unnamed:
        onnx.save(model, str(path))
    return model


def _onnx_nodes(model: Any) -> list[GraphNode]:
    """The nodes of an ONNX graph; what is computed from constants alone counts as constant."""
    shapes: dict[str, Sequence[int]] = {item.name: list(item.dims) for item in model.graph.initializer}
    constant = set(shapes)
    nodes = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if constant.issuperset(inputs):
            constant.update(node.output)
            value = next((one.t for one in node.attribute if one.name == 'value'), None)
            known = (
                list(value.dims) if value is not None else next((shapes[name] for name in inputs if name in shapes), [])
            )
            shapes.update(dict.fromkeys(node.output, known))
        weights = [shapes[name] for name in inputs if name in constant]
        nodes.append(GraphNode(node.name, node.op_type, inputs, list(node.output), weights))
    return nodes


def convert_openvino(
    source: Path, target: Path, precision: str, samples: Callable[[], Iterable[Sample]], count: int = 0
) -> None:
    """Write an ONNX file as an OpenVINO file, ``target`` (.xml) and the weights beside it (.bin).

    Int8 is NNCF's post-training quantisation with symmetric weights and asymmetric activations ("mixed"); fp16 and bf16 files hold 16-bit weights, and the
    reader chooses the type of the computation.

    Args:
        source: file of fp32.
        target: file to write.
        precision: one of ``PRECISIONS['openvino']``.
        samples: see :func:`reduce_onnx`; for ``'int8'`` alone.
        count: number of samples that are taken.

    Raises:
        ConfigError: a package is missing.
        DataError: there is no sample for ``'int8'``.
    """
    ov = library('openvino')
    model = ov.convert_model(str(source))
    if precision == 'int8':
        _require_sample(samples)
        model = _quantised_openvino(ov, model, samples, count)
    ov.save_model(model, os.fspath(target), compress_to_fp16=precision in ('fp16', 'bf16'))


def _quantised_openvino(ov: Any, model: Any, samples: Callable[[], Iterable[Sample]], count: int) -> Any:
    """The model with its network part quantised. That part is cut out for it: NNCF cannot read the branches (If) of a decode."""
    nncf = library('nncf')
    nodes = _openvino_nodes(model)
    # A second stage stays as it is: behind proposals the part that is cut out would need the sizes of the images, too.
    part = {*network_part(nodes)} & _before_selections(nodes)
    cuts = []
    for operation in model.get_ordered_ops():
        if operation.get_friendly_name() in part:
            for output in operation.outputs():
                readers = [one for one in output.get_target_inputs() if one.get_node().get_friendly_name() not in part]
                cuts += [(output, readers)] if readers else []
    image = next(one for one in model.get_parameters() if one.get_friendly_name() == 'image')
    network = ov.Model([ov.opset13.result(output) for output, _ in cuts], [image], 'network')
    nncf.set_log_level(logging.ERROR)
    with _silent(), keeps_signal_stack():  # NNCF has cores of its own
        quantised = nncf.quantize(
            network,
            nncf.Dataset([sample['image'] for sample in samples()]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=max(count, 1),
        )
    for reader in quantised.get_parameters()[0].output(0).get_target_inputs():
        reader.replace_source_output(image.output(0))
    for (_, readers), result in zip(cuts, quantised.get_results()):
        for reader in readers:
            reader.replace_source_output(result.input(0).get_source_output())
    return ov.Model(model.get_results(), model.get_parameters(), model.get_friendly_name())


def _openvino_nodes(model: Any) -> list[GraphNode]:
    """The operations of an OpenVINO model; what is computed from constants alone counts as constant."""
    constant: set[str] = set()
    nodes = []
    for operation in model.get_ordered_ops():
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        sources = [one.get_source_output() for one in operation.inputs()]
        inputs = [one.get_node().get_friendly_name() for one in sources]
        if kind == 'Constant' or (inputs and constant.issuperset(inputs)):
            constant.add(name)
            continue
        weights = [
            one.get_partial_shape().to_shape() for one, name in zip(sources, inputs)
            if name in constant and one.get_partial_shape().is_static
        ]  # fmt: skip
        nodes.append(GraphNode(name, kind, inputs, [name], weights))
    return nodes


def _require_sample(samples: Callable[[], Iterable[Sample]]) -> None:
    if next(iter(samples()), None) is None:
        raise DataError('int8 needs images to calibrate by: give a folder or annotation file', field='--calibration')


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep progress bars and advice of the quantisers off the terminal; errors are raised as ever."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
