"""Exporting a detector with its weights as a folder that runs without torch, and comparing the two on real images."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from torch import nn

from ..config.reading import type_name
from ..config.stages import inner_test_dataset, test_pipeline_config
from ..datasets.transforms import LoadAnnotations, LoadImageFromFile, PackDetInputs, Pad, Resize, WarpResize
from ..errors import ConfigError
from ..export.folder import (
    REJECTED,
    network_entry,
    new_folder,
    put_in_place,
    refuse_foreign_folder,
    sha256_of,
    versions,
    write_manifest,
)
from ..export.graphs import ExportGraph, build_graph, check_target, to_onnx, to_torch_export
from ..export.parity import Parity, metrics_table
from ..export.precision import check_precision, convert_openvino, library, reduce_onnx
from ..models.data_preprocessors import DetDataPreprocessor
from ..models.detectors import BaseDetector, CompositeDetector, DetectionStage, SlicedDet, UFPMPDet
from ..registry import DATASETS
from ..utils.checks import is_int
from ..utils.files import temporary_folder
from .building import init_detector, read_config
from .export_comparison import Image, average_precision, calibration_images, check_images, compare_detections
from .inference import ImagePipeline, predict_batch
from .known_models import config_by_name

_SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml', 'torch-export': '.pt2'}
_TEST_CFG = ('score_thr', 'nms', 'max_per_img', 'min_bbox_size')
# Arguments of the composite detectors beside their stages, by the names of their attributes.
_COMPOSITES: dict[type, tuple[str, ...]] = {
    UFPMPDet: ('ufp', 'nms', 'max_per_img', 'min_overlap', 'coarse_weight', 'on_empty', 'coarse_area', 'look_below', 'look_score'),
    SlicedDet: ('tile_wh', 'overlap', 'nms', 'max_per_img'),
}  # fmt: skip


@dataclass(kw_only=True)
class ExportSettings:
    """Choices for :func:`export_detector`.

    Attributes:
        to: ``'onnx'``, ``'openvino'`` or ``'torch-export'``.
        outputs: ``'raw'``, ``'candidates'`` (before the NMS) or ``'boxes'`` (after it); None takes boxes where the NMS can be written, and
            candidates for others, for composite detectors and for torch.export.
        size_wh: (w, h) that test images are resized to; None takes that of the test pipeline.
        static: allow this size alone, and the batch size ``batch`` or 1.
        batch: allow this batch size alone.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        symmetric: int8 activations of ONNX files with a zero point of 0, as TensorRT takes them.
        calibration: folder, image or annotation file of the images that int8 is calibrated by; None takes the training data of the config.
        calibration_images: how many of them.
        parity_images: folder or image for the parity check; None takes the test data of the config, or else drawn scenes.
        ann_file, image_root: annotation file (COCO) and folder of its images for AP before and after; None takes the test data of the config.
        ap_images: how many images AP is measured on at most; 0 leaves it out.
        opset: version of the ONNX operators.
    """

    to: str
    outputs: str | None = None
    size_wh: tuple[int, int] | None = None
    static: bool = False
    batch: int | None = None
    precision: str = 'fp32'
    symmetric: bool = False
    calibration: str | None = None
    calibration_images: int = 64
    parity_images: str | None = None
    ann_file: str | None = None
    image_root: str | None = None
    ap_images: int = 500
    opset: int = 17


@dataclass
class ExportedDetector:
    """What :func:`export_detector` wrote.

    Attributes:
        folder: the export; of one that failed its check, ``<out>_rejected``.
        manifest: its manifest.
        parity: figures of the check.
        before, after: metrics of the detector and of its export; empty where there is no ground truth, or the precision is fp32 and none was given.
    """

    folder: Path
    manifest: dict[str, Any]
    parity: Parity
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f'{name}: {", ".join(entry["sha256"])} ({entry["to"]}, {entry["precision"]}, {entry["outputs"]})' for name, entry in self.manifest['networks'].items()]  # fmt: skip
        lines.append(str(self.parity))
        if self.before:
            lines += [f'{"":<28} {"before":>7} {"after":>7} {"change":>7}', *metrics_table(self.before, self.after)]
        verdict = 'written' if self.parity.passed else 'kept for a look, not for use'
        return '\n'.join([*lines, f'{verdict}: {self.folder}'])


@dataclass
class _Plan:
    """What is exported: kind, networks by name, stages and arguments of a composite detector as the manifest has them."""

    kind: str
    detectors: dict[str, BaseDetector]
    graphs: dict[str, ExportGraph]
    stages: dict[str, dict[str, Any]]
    composite: dict[str, Any] = field(default_factory=dict)


def export_detector(
    config: str | Path | Config,
    checkpoint: str | None,
    out: str | Path,
    settings: ExportSettings,
    *,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
    log: Callable[[str], None] = print,
) -> ExportedDetector:
    """Export a detector, single or composite, and check the result on images.

    Args:
        config: a config, its path, or a known name.
        checkpoint: its weights, those of the average where training kept one; None for a composite detector whose config names them.
        out: folder to write; an earlier export in it is replaced. If the check fails, the export is at ``<out>_rejected`` instead, and ``out`` is as it was.
        settings: how.
        cfg_options: overrides of the config.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint; only for files of your own.
        log: called with lines on what is done.

    Raises:
        ConfigError: settings that do not go together, a detector or test pipeline that cannot be exported, a missing package, or a folder with
            other contents.
        CheckpointError, DataError: weights or images cannot be read.
    """
    out = Path(out)
    _check_settings(settings)
    for folder in (out, _rejected(out)):
        refuse_foreign_folder(folder)
    if isinstance(config, str):
        config = config_by_name(config)
    cfg = _sized(read_config(config, cfg_options), settings)
    model = init_detector(cfg, checkpoint, device='cpu', trust_checkpoint=trust_checkpoint)
    plan = _plan(model, cfg, settings, log)
    images, source = check_images(cfg, settings.parity_images, log)
    calibration: list[Image] = []
    if settings.precision == 'int8':
        calibration += calibration_images(cfg, settings.calibration, settings.calibration_images)
    with new_folder(out) as folder, _fixed_size(model, plan, settings):
        samples = _recorded(model, plan, cfg, calibration, folder, settings.batch if settings.static else None)
        with samples as recorded:
            networks = {
                name: _write_network(graph, name, folder, plan, settings, recorded[name]) for name, graph in plan.graphs.items()
            }  # fmt: skip
        name = None if checkpoint is None else Path(checkpoint)
        origin = dict(config=str(getattr(cfg, 'filename', None) or 'config'), checkpoint=name and str(name),
                      sha256=sha256_of(name) if name is not None and name.is_file() else None)  # fmt: skip
        content = dict(
            kind=plan.kind, classes=list(model.dataset_meta['classes']), networks=networks, stages=plan.stages,
            composite=plan.composite, versions=versions(settings.to), source=origin,
        )  # fmt: skip
        write_manifest(folder, content)
        parity = compare_detections(model, cfg, folder, networks, plan.graphs, images, source)
        content['parity'] = parity.as_dict()
        before: dict[str, float] = {}
        after: dict[str, float] = {}
        if _wants_ap(settings):
            before, after = average_precision(model, cfg, folder, settings.ap_images, log)
        if before:
            content['metrics'] = dict(before=before, after=after)
        manifest = write_manifest(folder, content)
        written = put_in_place(folder, out if parity.passed else _rejected(out))
    return ExportedDetector(written, manifest, parity, before, after)


def _wants_ap(settings: ExportSettings) -> bool:
    """Where results may change, or the user names the ground truth; raw outputs and files of torch.export are not for the runtime."""
    asked = settings.ann_file is not None or settings.precision != 'fp32'
    return asked and settings.ap_images > 0 and settings.outputs != 'raw' and settings.to != 'torch-export'


def _rejected(out: Path) -> Path:
    return out.with_name(f'{out.name}{REJECTED}')


# ------------------------------------------------------------------------------------------------------------------------ settings


def _check_settings(settings: ExportSettings) -> None:
    """Errors about settings, before any model is built."""
    check_precision(settings.to, settings.precision)
    for name in dict(onnx=('onnx', 'onnxruntime'), openvino=('onnx', 'openvino')).get(settings.to, ()):
        library(name)
    if settings.precision == 'int8' and settings.to == 'openvino':
        library('nncf')
    for name, value, least in (
        ('--batch', 1 if settings.batch is None else settings.batch, 1), ('--ap-images', settings.ap_images, 0),
        ('--calibration-images', settings.calibration_images, 1), ('--opset', settings.opset, 17),
    ):  # fmt: skip
        if not is_int(value, least):
            raise ConfigError(f'must be an integer >= {least}', field=name, received=value)
    size = settings.size_wh
    if size is not None and not (len(size) == 2 and all(is_int(side, 1) for side in size)):
        raise ConfigError('must be width and height, two integers >= 1', field='--size', received=size)
    if settings.symmetric and (settings.to, settings.precision) != ('onnx', 'int8'):
        raise ConfigError('is for int8 files of onnx', field='--symmetric', received=(settings.to, settings.precision))
    if settings.calibration is not None and settings.precision != 'int8':
        raise ConfigError('is for --precision int8', field='--calibration', received=settings.precision)
    if (settings.ann_file is None) != (settings.image_root is None):
        raise ConfigError('--ann and --img are given together, or neither of them', field='--ann')


def _sized(cfg: Config, settings: ExportSettings) -> Config:
    """The config, its test images resized to the size that is asked for, its test data those that are asked for."""
    if settings.size_wh is not None:
        steps = test_pipeline_config(cfg)
        sized = [step for step in steps if type_name(step) in ('Resize', 'WarpResize')]
        if len(sized) != 1:
            message = 'needs a test pipeline with one Resize; stages of composite detectors have their own: --cfg-options model.coarse.scale=...'
            raise ConfigError(message, field='--size', received=[type_name(step) for step in steps])
        sized[0]['scale'] = tuple(settings.size_wh)
        for step in steps:
            if type_name(step) == 'Pad' and step.get('size') is not None:
                step['size'] = tuple(settings.size_wh)
    if settings.ann_file is not None:
        given = inner_test_dataset(cfg)
        own = getattr(
            DATASETS.get(type_name(given)), 'METAINFO', {}
        )  # the classes of a VisDroneDataset, say, are in no config
        dataset = dict(
            type='CocoDataset', ann_file=settings.ann_file, data_root='', data_prefix=dict(img=settings.image_root), test_mode=True,
            pipeline=test_pipeline_config(cfg), metainfo=given.get('metainfo') or (dict(own) if own.get('classes') else None),
        )  # fmt: skip
        cfg.test_dataloader = dict(dataset=dataset)
        cfg.test_evaluator = dict(type='CocoMetric', ann_file=settings.ann_file)
    return cfg


# ----------------------------------------------------------------------------------------------------------------- what is exported


def _plan(model: BaseDetector, cfg: Config, settings: ExportSettings, log: Callable[[str], None]) -> _Plan:
    """What the folder will hold.

    Raises:
        ConfigError: a detector or test pipeline that cannot be exported.
    """
    if isinstance(model, CompositeDetector):
        return _composite_plan(model, settings)
    outputs = settings.outputs
    if outputs is None and settings.to == 'torch-export':
        outputs = 'candidates'  # torch has no operator for the NMS
    if outputs is None:
        try:
            graph = build_graph(model, 'boxes')
        except ConfigError as error:
            graph = build_graph(model, 'candidates')
            log(f'outputs: candidates, as {error}')
    else:
        graph = build_graph(model, outputs)
    check_target(graph, settings.to)
    if graph.two_stages and outputs == 'raw':
        message = "must be 'boxes' or 'candidates' for a detector of two stages, whose raw outputs belong to proposals of a first NMS"
        raise ConfigError(message, field='--outputs', received=outputs)
    stage = dict(
        network='network', **_resize_settings(cfg), flip=False, max_zoom=None, batch_size=settings.batch or 1,
        **_preprocessing(model), test_cfg=_test_cfg(model, graph.settings), clips_boxes=True,
    )  # fmt: skip
    return _Plan('detector', {'network': model}, {'network': graph}, {'detector': stage})


def _composite_plan(model: CompositeDetector, settings: ExportSettings) -> _Plan:
    known = next((kind for kind in _COMPOSITES if type(model) is kind), None)
    if known is None:
        message = (
            f'only {" and ".join(kind.__name__ for kind in _COMPOSITES)} can be exported of the composite detectors'
        )
        raise ConfigError(message, field='model.type', received=type(model).__name__)
    for name, value, allowed in (
        ('--outputs', settings.outputs, (None, 'candidates')), ('--static', settings.static, (False,)),
        ('--to', settings.to, ('onnx', 'openvino')), ('--batch', settings.batch, (None,)),
    ):  # fmt: skip
        if value not in allowed:
            message = f'must be {" or ".join(map(str, allowed))} for a composite detector, whose views and mosaics have many sizes and one NMS'
            raise ConfigError(message, field=name, received=value)
    parts: dict[str, DetectionStage] = {}
    composite = {name: _plain(getattr(model, name)) for name in _COMPOSITES[known]}
    if isinstance(model, UFPMPDet):
        parts = dict(coarse=model.coarse, fine=model.fine)
        composite['fine_labels'] = _plain(model._fine_labels)
    elif isinstance(model, SlicedDet):
        parts = dict(zip(('stage', 'whole'), (model.stage, *model._whole_stages)))
    plan = _Plan(known.__name__, {}, {}, {}, composite)
    for name, stage in parts.items():
        network = next((other for other in plan.graphs if _serves(plan, other, stage)), None)
        if network is None:
            network = name if len(parts) > 1 else 'network'
            plan.detectors[network] = stage.detector
            plan.graphs[network] = build_graph(stage.detector, 'candidates', _merged(stage))
        settings_of_graph = plan.graphs[network].settings
        # One network for two thresholds filters by the lower one; the stage by its own.
        settings_of_graph.score_thr = min(settings_of_graph.get('score_thr', 0), stage.test_cfg.get('score_thr', 0))
        plan.stages[name] = dict(
            network=network, scales=[list(scale) for scale in stage.scales], flip=stage.flip, keep_ratio=True,
            max_zoom=stage.max_zoom, batch_size=stage.batch_size, **_preprocessing(stage.detector),
            test_cfg=_test_cfg(stage.detector, stage.test_cfg),
            clips_boxes=bool(getattr(stage.detector.detection_head, 'clips_boxes', True)),
        )  # fmt: skip
    if len(plan.graphs) == 1:
        only = next(iter(plan.graphs))
        plan.graphs, plan.detectors = {'network': plan.graphs[only]}, {'network': plan.detectors[only]}
        for entry in plan.stages.values():
            entry['network'] = 'network'
    return plan


def _merged(stage: DetectionStage) -> ConfigDict:
    """The settings by which a stage chooses its candidates, see :meth:`BaseDetector.candidates`."""
    return ConfigDict(stage.test_cfg, nms_pre_rule='pairs')


def _serves(plan: _Plan, network: str, stage: DetectionStage) -> bool:
    """Whether a network gives the candidates of a stage, too, if need be with more of low score."""
    known, wanted = plan.graphs[network].settings, stage.test_cfg
    same = all(known.get(key) == wanted.get(key) for key in ('nms_pre', 'min_bbox_size'))
    one_threshold = known.get('score_thr', 0) == wanted.get('score_thr', 0)
    return plan.detectors[network] is stage.detector and same and (one_threshold or not _has_factors(stage.detector))


def _has_factors(detector: BaseDetector) -> bool:
    """Whether scores are multiplied by a factor (centerness) after the threshold."""
    return len(getattr(detector.detection_head, 'output_names', ())) > 2


def _test_cfg(detector: BaseDetector, settings: ConfigDict) -> dict[str, Any]:
    """The settings that are left for the runtime; a threshold that comes before a factor was applied in the graph."""
    found = {key: _plain(settings.get(key)) for key in _TEST_CFG if settings.get(key) is not None}
    head = detector.detection_head
    if getattr(head, 'legacy', False) and found.get('nms'):
        found['nms'] = dict(found['nms'], offset=1)
    return dict(found, score_thr=0.0) if _has_factors(detector) else found


def _preprocessing(detector: BaseDetector) -> dict[str, Any]:
    """What the data preprocessor of a detector does, as the manifest has it."""
    given = detector.data_preprocessor
    mean, std = None, None
    if given.normalises:  # 123.675 rather than the float64 that is nearest to its float32
        mean, std = ([float(str(value)) for value in each.flatten().numpy()] for each in (given.mean, given.std))
    return dict(mean=mean, std=std, bgr_to_rgb=bool(given.swaps_channels), pad_divisor=given.pad_size_divisor, pad_value=given.pad_value)  # fmt: skip


def _resize_settings(cfg: Config) -> dict[str, Any]:
    """How the test pipeline resizes, as the manifest has it.

    Raises:
        ConfigError: a transform that the runtime does not have.
    """
    found: dict[str, Any] = {}
    for step in Compose(test_pipeline_config(cfg)).transforms:
        kind = type(step)
        plain = isinstance(step, LoadImageFromFile | LoadAnnotations | PackDetInputs)
        if (
            kind is Resize
            and step.scale is not None
            and max(step.scale) < float('inf')
            and step.interpolation == 'bilinear'
            and not found
        ):
            found = dict(scales=[[int(side) for side in step.scale]], keep_ratio=step.keep_ratio)
        elif kind is WarpResize and not step._moves() and not found:
            found = dict(
                scales=[list(step.scale)],
                keep_ratio=step.fit != 'stretch',
                canvas=dict(warp=step.fit, color=_color(step.border_val)),
            )
        elif (
            kind is Pad
            and found
            and 'canvas' not in found
            and step.padding_mode == 'constant'
            and step.size_divisor is None
        ):
            size = None if step.size is None else list(step.size)
            found['canvas'] = dict(size=size, square=step.pad_to_square, color=_color(step.pad_val))
        elif not plain:
            message = f'{kind.__name__} with these settings is not part of the runtime, which resizes (Resize bilinear, WarpResize) and pads'
            raise ConfigError(message, file=cfg.filename, field='test_pipeline', received=repr(step))
    if not found:
        raise ConfigError('must have a Resize', file=cfg.filename, field='test_pipeline')
    return found


def _color(value: Any) -> list[float]:
    value = value.get('img', 0) if isinstance(value, dict) else value
    return [float(one) for one in (value if isinstance(value, Sequence) else [value] * 3)][:3]


def _plain(value: Any) -> Any:
    """A config value as JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


# ----------------------------------------------------------------------------------------------------------------------- the networks


@contextlib.contextmanager
def _fixed_size(model: BaseDetector, plan: _Plan, settings: ExportSettings) -> Iterator[None]:
    """Pad every batch of the original to the one size of a static export: zeros beside an image change the features at its border."""
    if not settings.static:
        yield
        return
    height, width = _example_hw(plan, 'network')

    def pad(module: DetDataPreprocessor, args: tuple, output: dict) -> dict:
        right, below = (side - own for side, own in zip((width, height), output['inputs'].shape[:1:-1]))
        return dict(output, inputs=F.pad(output['inputs'], (0, right, 0, below), value=module.pad_value))

    hook = model.data_preprocessor.register_forward_hook(pad)
    try:
        yield
    finally:
        hook.remove()


def _example_hw(plan: _Plan, network: str) -> tuple[int, int]:
    """Height and width of the largest input of a network, padded."""
    stage = next(stage for stage in plan.stages.values() if stage['network'] == network)
    width, height = (min(side, 4096) for side in stage['scales'][0])
    canvas = stage.get('canvas') or {}
    if canvas.get('size'):
        width, height = canvas['size']
    elif canvas.get('square'):
        width = height = max(width, height)
    divisor = max(stage['pad_divisor'], 1)
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def _write_network(
    graph: ExportGraph, name: str, folder: Path, plan: _Plan, settings: ExportSettings, samples: Callable[[], Iterable[dict]]
) -> dict[str, Any]:  # fmt: skip
    """Write a network's files, and return its entry in the manifest."""
    stem = 'model' if name == 'network' else name
    target = folder / f'{stem}{_SUFFIXES[settings.to]}'
    size_hw = _example_hw(plan, name)
    batch = settings.batch or 1
    free: list[int | None] = [None if settings.batch is None else batch, None, None]
    if settings.static:
        free = [batch, *size_hw]
    if settings.to == 'torch-export':
        # With two images, torch takes their number for that of the columns of the other input.
        to_torch_export(graph, target, size_hw, batch=batch if settings.static else 3, dynamic=not settings.static)
        files = [target.name]
    else:
        for axes in graph.dynamic_axes.values():
            if settings.batch is not None and axes.get(0) == 'batch':
                del axes[0]
        with temporary_folder(folder / 'work') as work:
            plain = target if (settings.to, settings.precision) == ('onnx', 'fp32') else work / f'{stem}.onnx'
            to_onnx(graph, plain, size_hw, batch=batch, dynamic=not settings.static, opset=settings.opset)
            if settings.to == 'openvino':
                convert_openvino(plain, target, settings.precision, samples, settings.calibration_images)
            elif settings.precision != 'fp32':
                reduce_onnx(plain, target, settings.precision, samples, symmetric=settings.symmetric)
        files = [target.name, *([target.with_suffix('.bin').name] if settings.to == 'openvino' else [])]
    return network_entry(
        folder, files, to=settings.to, precision=settings.precision, outputs=graph.outputs,
        image=[free[0], 3, *free[1:]], divisor=max(plan.detectors[name].data_preprocessor.pad_size_divisor, 1),
    )  # fmt: skip


@contextlib.contextmanager
def _recorded(
    model: BaseDetector, plan: _Plan, cfg: Config, images: Sequence[Image], folder: Path, batch: int | None
) -> Iterator[dict[str, Callable[[], Iterable[dict]]]]:
    """The inputs that every network gets when the detector runs on images, kept on the disk.

    Those of a fine stage are mosaics of what the coarse one finds, hence the whole detector runs.
    """
    counts = dict.fromkeys(plan.graphs, 0)
    with contextlib.ExitStack() as stack, temporary_folder(folder / 'calibration') as store:
        for name, detector in plan.detectors.items():

            def keep(module: nn.Module, args: tuple, output: dict, name: str = name) -> None:
                for image, pixels in zip(args[0]['inputs'], output['inputs']):
                    arrays = dict(image=pixels.numpy()[None], shape=np.array([image.shape[-2:]], np.int64))
                    arrays = {key: np.repeat(value, batch or 1, axis=0) for key, value in arrays.items()}
                    if plan.graphs[name].outputs == 'raw':
                        del arrays['shape']
                    np.savez(store / f'{name}_{counts[name]}.npz', **arrays)
                    counts[name] += 1

            stack.callback(detector.data_preprocessor.register_forward_hook(keep).remove)
        pipeline = ImagePipeline(test_pipeline_config(cfg)) if images else None
        for number, image in enumerate(images):
            assert pipeline is not None
            packed, _ = pipeline.load(image, number)
            if isinstance(model, CompositeDetector):
                predict_batch(model, [packed])
            else:
                model.data_preprocessor(pseudo_collate([packed]))

        def reader(name: str) -> Callable[[], Iterable[dict]]:
            return lambda: (dict(np.load(store / f'{name}_{number}.npz')) for number in range(counts[name]))

        yield {name: reader(name) for name in plan.graphs}
