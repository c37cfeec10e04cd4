"""The images that an export is calibrated and checked on, and the two comparisons of the original with what was exported: boxes, and AP."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from mmdet_runtime.backends import Network, open_network
from mmdet_runtime.detector import Runtime, load
from mmdet_runtime.folder import read_folder

from ..config.stages import inner_test_dataset, test_pipeline_config
from ..datasets.drone_scenes.layout import draw_scene
from ..errors import DataError, MMDetError
from ..evaluation import Evaluator
from ..export.graphs import ExportGraph
from ..export.parity import Found, Parity, compare, compare_raw
from ..formats.annotations import read_table
from ..models.detectors import BaseDetector, CompositeDetector, UFPMPDet
from ..registry import DATASETS
from .inference import ImagePipeline, load_original, predict_batch
from .sources import collect_inputs

_PARITY_IMAGES = 20
Image = np.ndarray | str


def calibration_images(cfg: Config, given: str | None, count: int) -> list[str]:
    """Paths of the images that int8 is calibrated by, spread over the set.

    Args:
        cfg: whose training data are taken where nothing is given.
        given: a folder, an image, or an annotation file with paths relative to its folder.
        count: how many at most.

    Raises:
        DataError: none were given, and the training data of the config are not here.
    """
    if given is None:
        paths, reason = _paths_of((cfg.get('train_dataloader') or {}).get('dataset'))
        if not paths:
            message = f'int8 needs images to calibrate by, and the training data of the config are not here ({reason}); give a folder or an annotation file'
            raise DataError(message, field='--calibration')
    elif Path(given).suffix.lower() in ('.json', '.csv', '.xml', '.txt'):
        names = read_table(given).require_file_names()
        paths = [str(Path(given).parent / name) for name in names]
        if paths and not Path(paths[0]).is_file():
            message = 'its images must be relative to its folder; give their folder in place of the annotation file'
            raise DataError(message, file=given, field='--calibration', received=names[0])
    else:
        paths = [image for image in collect_inputs(given, recursive=True) if isinstance(image, str)]
    return paths[:: max(len(paths) // count, 1)][:count]


def _paths_of(dataset: Any) -> tuple[list[str], str]:
    """Paths of the images of a dataset's config; or none, and why."""
    if not dataset:
        return [], 'it names none'
    if not _is_there(dataset):
        return [], f'there is no {Path(dataset.get("data_root") or "") / str(dataset.get("ann_file"))}'
    try:
        built = DATASETS.build(dataset)
        paths = [built.get_data_info(number)['img_path'] for number in range(len(built))]
        missing = next((path for path in paths[:1] if not Path(path).is_file()), None)
        return ([], f'there is no {missing}') if missing else (paths, '')
    except (MMDetError, OSError, KeyError, AttributeError) as error:
        return [], str(error)


def _is_there(dataset: dict) -> bool:
    """Whether the annotation file of a dataset's config exists: one that draws its images would begin to, otherwise."""
    while 'ann_file' not in dataset and ('dataset' in dataset or dataset.get('datasets')):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    file: Any = dataset.get('ann_file')
    names = file if isinstance(file, list | tuple) else [file]
    root = Path(dataset.get('data_root') or '')
    return all((root / name).exists() for name in names) if file else bool(dataset)


def check_images(cfg: Config, given: str | None, log: Callable[[str], None]) -> tuple[list[Image], str]:
    """The images of the parity check, and what they are: those that are given, the first of the config's test data, or drawn scenes."""
    if given is not None:
        return collect_inputs(given)[:_PARITY_IMAGES], given
    paths, reason = _paths_of((cfg.get('test_dataloader') or {}).get('dataset'))
    if paths:
        return [*paths[:_PARITY_IMAGES]], f'first {min(len(paths), _PARITY_IMAGES)} images of the test data'
    log(
        f'the test data of the config are not here ({reason}): parity is checked on drawn drone scenes; --parity-images takes your own'
    )
    return [draw_scene(np.random.default_rng(seed)).image for seed in range(8)], 'drawn drone scenes'


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
    with _several_threads() if isinstance(model, CompositeDetector) else contextlib.nullcontext():
        if isinstance(model, UFPMPDet) and entry['precision'] != 'fp32':
            return compare(_stage_pairs(model, runtime, pipeline, images), entry['precision'], f'{source}, each stage')
        return compare(_pairs(model, runtime, pipeline, images), entry['precision'], source)


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
        inputs = inputs.expand(network.inputs['image'][0] or 1, -1, -1, -1).contiguous()
        with torch.no_grad():
            expected = [each.numpy() for each in graph(inputs)]
        found = network(inputs.numpy())
        yield expected, [found[name] for name in graph.output_names]


def average_precision(
    model: BaseDetector, cfg: Config, folder: Path, most: int, log: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of the config's evaluator for the original and the exported detector, on the first ``most`` test images; empty without them."""
    loader = cfg.get('test_dataloader') or {}
    if not cfg.get('test_evaluator') or not loader.get('dataset') or not _is_there(inner_test_dataset(cfg)):
        log('AP is not measured: the test data of the config are not here; --ann and --img take others')
        return {}, {}
    dataset = DATASETS.build(loader['dataset'])
    evaluators = [Evaluator(cfg.test_evaluator) for _ in range(2)]
    for evaluator in evaluators:
        evaluator.dataset_meta = dataset.metainfo
        evaluator.bind(dataset)
        evaluator.match_classes(model.dataset_meta['classes'])
    runtime, count = load(folder, verify=False), min(len(dataset), most)
    for number in range(count):
        packed = dataset[number]
        (before,) = predict_batch(model, [packed])
        found = runtime(load_original(packed['data_samples'].img_path))
        after = before.clone()
        fields = {name: torch.from_numpy(getattr(found, name)) for name in ('bboxes', 'scores', 'labels')}
        after.pred_instances = InstanceData(**fields)
        for evaluator, sample in zip(evaluators, (before, after)):
            evaluator.process([sample], data_batch=packed)
    with contextlib.redirect_stdout(io.StringIO()):  # two tables of metrics, of which a few lines are printed together
        found_metrics = [evaluator.evaluate(count) for evaluator in evaluators]
    first, second = (
        {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
        for metrics in found_metrics
    )
    return first, second
