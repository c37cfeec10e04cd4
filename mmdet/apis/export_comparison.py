"""The two comparisons of a detector with its export: boxes, and AP."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from mmdet_runtime.backends import Network, open_network
from mmdet_runtime.detector import Runtime, load
from mmdet_runtime.folder import read_folder

from ..config.stages import inner_test_dataset, test_pipeline_config
from ..export.graphs import ExportGraph
from ..export.parity import LIMITS, QUERY_BOX_PX, Found, Parity, compare, compare_raw
from ..export.plan import Plan
from ..export.settings import ExportSettings
from ..models.data_preprocessors import DetDataPreprocessor
from ..models.detectors import BaseDetector, CompositeDetector, UFPMPDet
from ..registry import DATASETS
from ..utils.class_names import class_names
from .export_images import Image, is_there
from .inference import ImagePipeline, compose_for_inputs, load_original, loader_range, predict_batch
from .testing import ScoredPass


@contextlib.contextmanager
def fixed_size(model: BaseDetector, plan: Plan, settings: ExportSettings) -> Iterator[None]:
    """Pad every batch of the original to the one size of a static export: zeros beside an image change the features at its border."""
    if not settings.static:
        yield
        return
    height, width = plan.input_hw('network')

    def pad(module: DetDataPreprocessor, args: tuple, output: dict) -> dict:
        right, below = (side - own for side, own in zip((width, height), output['inputs'].shape[:1:-1]))
        return dict(output, inputs=F.pad(output['inputs'], (0, right, 0, below), value=module.pad_value))

    hook = model.data_preprocessor.register_forward_hook(pad)
    try:
        yield
    finally:
        hook.remove()


class _TorchNetwork(Network):
    """A file of torch.export for the runtime's decoding, in this process."""

    backend = 'torch-export'

    def __init__(self, file: Path, graph: ExportGraph, image: Sequence[int | None]) -> None:
        super().__init__(str(file))
        self._module = torch.export.load(file).module()
        self.inputs = {'image': tuple(image)}
        if graph.outputs != 'raw':
            self.inputs['shape'] = (image[0], 2)
        self._types = {'image': np.float32, 'shape': np.int64}
        self.outputs, self.description = tuple(graph.output_names), 'torch.export'

    def _run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = self._module(*(torch.from_numpy(feed[name]) for name in self.inputs))
        return {name: value.numpy() for name, value in zip(self.outputs, found)}


def _opened(folder: Path, entry: Mapping[str, Any], graph: ExportGraph) -> Network:
    """The network of a single detector, by its entry in the manifest."""
    file = folder / entry['file']
    if entry['to'] == 'torch-export':
        return _TorchNetwork(file, graph, entry['inputs']['image'])
    return open_network(file, precision=entry['precision'])


def compare_detections(
    model: BaseDetector, cfg: Config, folder: Path, networks: Mapping[str, Mapping[str, Any]], graphs: Mapping[str, ExportGraph],
    images: Sequence[Image], source: str,
) -> Parity:  # fmt: skip
    """Run the original and the exported detector on the same images.

    Args:
        model, cfg: the original.
        folder, networks: the export, and the entries of its networks in the manifest.
        graphs: what the networks were written from.
        images, source: of :func:`check_images`.
    """
    pipeline = ImagePipeline(test_pipeline_config(cfg))
    name, entry = next(iter(networks.items()))
    if entry['outputs'] == 'raw':
        raw = _raw_pairs(model, graphs[name], _opened(folder, entry, graphs[name]), pipeline, images)
        return compare_raw(raw, entry['precision'], source)
    if entry['to'] == 'torch-export':
        runtime = Runtime(read_folder(folder), {name: _opened(folder, entry, graphs[name])})
    else:
        runtime = load(folder)
    limits = LIMITS[entry['precision']]
    if any(graph.raw_kind == 'queries' for graph in graphs.values()):
        limits = limits._replace(box_px=max(limits.box_px, QUERY_BOX_PX))
    with _several_threads() if isinstance(model, CompositeDetector) else contextlib.nullcontext():
        if isinstance(model, UFPMPDet) and entry['precision'] != 'fp32':
            return compare(
                _stage_pairs(model, runtime, pipeline, images),
                entry['precision'],
                f'{source} and their mosaics, each stage by itself',
                limits,
            )
        return compare(_pairs(model, runtime, pipeline, images), entry['precision'], source, limits)


@contextlib.contextmanager
def _several_threads() -> Iterator[None]:
    """On one thread torch resizes by another kernel, and rounds some of the values that lie on a half to the other side; the runtime repeats this one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads, 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _pairs(
    model: BaseDetector, runtime: Runtime, pipeline: ImagePipeline, images: Sequence[Image]
) -> Iterator[tuple[Found, Found]]:
    for number, image in enumerate(images):
        packed, original = pipeline(image, number)
        instances = predict_batch(model, [packed])[0].pred_instances
        yield _found(instances), _found(runtime(original))


def _found(detections: Any) -> Found:
    """Of tensors or arrays."""
    return Found(*(np.asarray(getattr(detections, name)) for name in ('bboxes', 'scores', 'labels')))


def _stage_pairs(
    model: UFPMPDet, runtime: Runtime, pipeline: ImagePipeline, images: Sequence[Image]
) -> Iterator[tuple[Found, Found]]:
    """What each stage finds in the same picture: the coarse one in the image, the fine one in the mosaic of the original's coarse boxes.

    In less than 32 bits every coarse box moves a little, and where a region begins to touch another the whole mosaic is packed anew: boxes after both
    stages say more about that than about the networks.
    """
    stages = runtime.detector
    for number, image in enumerate(images):
        packed, original = pipeline(image, number)
        steps = model.trace([packed['inputs']])[0]
        yield _found(steps.coarse), _found(stages.coarse.detect([original])[0])
        if steps.fine is not None:
            mosaic = np.ascontiguousarray(steps.mosaic.permute(1, 2, 0).numpy())
            yield _found(steps.fine), _found(stages.fine.detect([mosaic])[0])


def _raw_pairs(
    model: BaseDetector, graph: ExportGraph, network: Network, pipeline: ImagePipeline, images: Sequence[Image]
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    for number, image in enumerate(images):
        packed, _ = pipeline.load(image, number)
        inputs = model.data_preprocessor(pseudo_collate([packed]))['inputs']
        inputs = model.padded(inputs)
        inputs = inputs.expand(network.inputs['image'][0] or 1, -1, -1, -1).contiguous()
        with torch.no_grad():
            expected = [each.numpy() for each in graph(inputs)]
        found = network(inputs.numpy())
        yield expected, [found[name] for name in graph.output_names]


def average_precision(
    model: BaseDetector, cfg: Config, folder: Path, most: int, log: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of the config's evaluator for the original and the exported detector, on the first ``most`` test images; empty without them."""
    if not most:
        return {}, {}
    loader = cfg.get('test_dataloader') or {}
    if not cfg.get('test_evaluator') or not loader.get('dataset') or not is_there(inner_test_dataset(cfg)):
        log('AP is not measured: the test data of the config are not here; --ann and --img take others')
        return {}, {}
    dataset = DATASETS.build(loader['dataset'])
    trained = class_names(model.dataset_meta)
    passes = [ScoredPass(cfg, dataset, trained, most) for _ in range(2)]
    runtime, count = load(folder, verify=False), min(len(dataset), most)
    value_range = loader_range(compose_for_inputs(test_pipeline_config(cfg)))
    log(f'AP of the original and of the export on {count} of {len(dataset)} test images ...')
    for number in range(count):
        packed = dataset[number]
        (before,) = predict_batch(model, [packed])
        found = runtime(load_original(packed['data_samples'].img_path, value_range))
        after = before.clone()
        fields = {name: torch.from_numpy(getattr(found, name)) for name in ('bboxes', 'scores', 'labels')}
        after.pred_instances = InstanceData(**fields)
        for scored, sample in zip(passes, (before, after)):
            scored(packed, [sample])
    first, second = (scored.metrics() for scored in passes)
    return first, second
