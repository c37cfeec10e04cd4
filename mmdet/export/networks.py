"""Writing the network files of an export."""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from ..utils.files import temporary_folder
from .folder import network_entry
from .graphs import to_onnx, to_torch_export
from .plan import Plan
from .precision import convert_openvino, reduce_onnx
from .settings import ExportSettings
from .winograd import winograd_layers

_SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml', 'torch-export': '.pt2'}


def write_network(plan: Plan, name: str, folder: Path, settings: ExportSettings, samples: Callable[[], Iterable[dict]]) -> dict[str, Any]:  # fmt: skip
    """Write a network's files into the folder of an export.

    Args:
        plan, name: what is exported, and which of its networks.
        folder: of the export.
        settings: of the export.
        samples: gives what the network sees of the images that int8 is calibrated by, as arrays by input.

    Returns:
        the entry of the network in the manifest.
    """
    graph = plan.graphs[name]
    stem = 'model' if name == 'network' else name
    target = folder / f'{stem}{_SUFFIXES[settings.to]}'
    size_hw = plan.input_hw(name)
    batch = settings.batch or 1
    free: list[int | None] = [None if settings.batch is None else batch, None, None]
    if settings.static:
        free = [batch, *size_hw]
    if settings.to == 'torch-export':
        if settings.precision != 'fp32':  # the weights; the decode stays in float32
            graph = copy.deepcopy(graph).to(dict(fp16=torch.float16, bf16=torch.bfloat16)[settings.precision])
        # With two images, torch takes their number for that of the columns of the other input.
        to_torch_export(graph, target, size_hw, batch=batch if settings.static else 3, dynamic=not settings.static)
        files = [target.name]
    else:
        for axes in graph.dynamic_axes.values():
            if settings.batch is not None and axes.get(0) == 'batch':
                del axes[0]
        with temporary_folder(folder / 'work') as work:
            plain = target if (settings.to, settings.precision) == ('onnx', 'fp32') else work / f'{stem}.onnx'
            fewer = settings.winograd and bool(winograd_layers(graph.detector))
            to_onnx(
                graph, plain, size_hw, batch=batch, dynamic=not settings.static, opset=settings.opset, winograd=fewer,
            )  # fmt: skip
            if settings.to == 'openvino':
                convert_openvino(plain, target, settings.precision, samples, settings.calibration_images)
            elif settings.precision != 'fp32':
                reduce_onnx(plain, target, settings.precision, samples, symmetric=settings.symmetric)
        files = [target.name, *([target.with_suffix('.bin').name] if settings.to == 'openvino' else [])]
    return network_entry(
        folder, files, to=settings.to, precision=settings.precision, outputs=graph.outputs,
        image=[free[0], 3, *free[1:]], divisor=max(plan.detectors[name].data_preprocessor.pad_size_divisor, 1),
    )  # fmt: skip
