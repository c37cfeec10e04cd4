"""What an export holds: its networks, and the stages that its manifest describes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose

from mmdet_runtime.resizing import model_size_hw

from ..config.stages import test_pipeline_config
from ..datasets.transforms import LoadAnnotations, LoadImageFromFile, PackDetInputs, Pad, Resize, WarpResize
from ..errors import ConfigError
from ..models.detectors import (
    BaseDetector,
    CompositeDetector,
    DetectionStage,
    SlicedDet,
    UFPMPDet,
)
from .graphs import ExportGraph, build_graph, check_target
from .settings import ExportSettings

_TEST_CFG = ('score_thr', 'nms', 'max_per_img', 'min_bbox_size')
# Arguments of the composite detectors beside their stages, by the names of their attributes.
_COMPOSITES: dict[type, tuple[str, ...]] = {
    UFPMPDet: ('ufp', 'nms', 'max_per_img', 'min_overlap', 'coarse_weight', 'on_empty', 'coarse_area', 'look_below', 'look_score'),
    SlicedDet: ('tile_wh', 'overlap', 'nms', 'max_per_img'),
}  # fmt: skip


@dataclass
class Plan:
    """What is exported: kind, networks by name, stages and arguments of a composite detector as the manifest has them."""

    kind: str
    detectors: dict[str, BaseDetector]
    graphs: dict[str, ExportGraph]
    stages: dict[str, dict[str, Any]]
    composite: dict[str, Any] = field(default_factory=dict)

    def input_hw(self, network: str) -> tuple[int, int]:
        """Height and width of the largest input of a network, padded."""
        stage = next(stage for stage in self.stages.values() if stage['network'] == network)
        width, height = (min(side, 4096) for side in stage['scales'][0])
        canvas = stage.get('canvas') or {}
        if canvas.get('size'):
            width, height = canvas['size']
        elif canvas.get('square'):
            width = height = max(width, height)
        divisor = max(stage['pad_divisor'], 1)
        padded = -(-height // divisor) * divisor, -(-width // divisor) * divisor
        return model_size_hw(padded, **(stage['input_rule'] or {}))


def settings_for(model: BaseDetector, settings: ExportSettings, log: Callable[[str], None]) -> ExportSettings:
    """The settings as a detector allows them: what torch.export writes of one with queries has one size.

    Raises:
        ConfigError: a precision that such a file cannot have.
    """
    if settings.to != 'torch-export' or model.raw_kind != 'queries':
        return settings
    if settings.precision != 'fp32':
        message = 'must be fp32 for a detector with queries, which computes boxes in the type of the weights: half precision is wrong by pixels'
        raise ConfigError(message, field='--precision', received=settings.precision)
    if not settings.static:
        log('one size alone (--static): torch.export writes a detector with queries for the size of its example')
    return replace(settings, static=True)


def make_plan(model: BaseDetector, cfg: Config, settings: ExportSettings, log: Callable[[str], None]) -> Plan:
    """What the folder will hold.

    Raises:
        ConfigError: a detector or test pipeline that cannot be exported.
    """
    if isinstance(model, CompositeDetector):
        return _composite_plan(model, cfg, settings)
    try:
        # torch has no operator for the NMS
        graph = build_graph(model, settings.outputs or ('candidates' if settings.to == 'torch-export' else 'boxes'))
    except ConfigError as error:
        if settings.outputs is not None or settings.to == 'torch-export':
            raise
        graph = build_graph(model, 'candidates')
        log(f'outputs: candidates, as {error}')
    check_target(graph, settings.to)
    if graph.raw_kind == 'regions' and graph.outputs == 'raw':
        message = "must be 'boxes' or 'candidates' for a detector of two stages, whose raw outputs belong to proposals of a first NMS"
        raise ConfigError(message, field='--outputs', received=graph.outputs)
    own = [] if graph.outputs == 'raw' else model.own_steps()
    if own:
        message = f'has a {own[0]} of its own, which an export would pass over; --outputs raw is what comes before it'
        raise ConfigError(message, file=cfg.filename, field='model.type', received=type(model).__name__)
    stage = dict(
        network='network', **_resize_settings(cfg), flip=False, max_zoom=None, batch_size=settings.batch or 1,
        **_preprocessing(model), test_cfg=_test_cfg(graph, graph.settings), clips_boxes=True, end_to_end=model.end_to_end,
        input_rule=_plain(model.input_rule),
    )  # fmt: skip
    return Plan('detector', {'network': model}, {'network': graph}, {'detector': stage})


def _composite_plan(model: CompositeDetector, cfg: Config, settings: ExportSettings) -> Plan:
    known = next((kind for kind in _COMPOSITES if type(model) is kind), None)
    if known is None:
        names = ' and '.join(kind.__name__ for kind in _COMPOSITES)
        message = f'only {names} can be exported of the composite detectors'
        raise ConfigError(message, field='model.type', received=type(model).__name__)
    for name, value, allowed in (
        ('--outputs', settings.outputs, (None, 'candidates')), ('--static', settings.static, (False,)),
        ('--to', settings.to, ('onnx', 'openvino')), ('--batch', settings.batch, (None,)),
    ):  # fmt: skip
        if value not in allowed:
            message = f'must be {" or ".join(map(str, allowed))} for a composite detector, whose views and mosaics have many sizes and one NMS'
            raise ConfigError(message, field=name, received=value)
    for step in _steps(cfg):
        message = 'the test pipeline of a composite detector may load and pack: its stages resize'
        raise ConfigError(message, file=cfg.filename, field='test_pipeline', received=repr(step))
    parts: dict[str, DetectionStage] = {}
    composite = {name: _plain(getattr(model, name)) for name in _COMPOSITES[known]}
    if isinstance(model, UFPMPDet):
        parts = dict(coarse=model.coarse, fine=model.fine)
        composite['fine_labels'] = _plain(model._fine_labels)
    elif isinstance(model, SlicedDet):
        parts = dict(zip(('stage', 'whole'), (model.stage, *model._whole_stages)))
    plan = Plan(known.__name__, {}, {}, {}, composite)
    for name, stage in parts.items():
        network = next((other for other in plan.graphs if _serves(plan, other, stage)), None)
        if network is None:
            network = name if len(parts) > 1 else 'network'
            plan.detectors[network] = stage.detector
            plan.graphs[network] = build_graph(stage.detector, 'candidates', _merged(stage))
            check_target(plan.graphs[network], settings.to)
        settings_of_graph = plan.graphs[network].settings
        # One network for two thresholds filters by the lower one; the stage by its own.
        settings_of_graph.score_thr = min(settings_of_graph.get('score_thr', 0), stage.test_cfg.get('score_thr', 0))
        plan.stages[name] = dict(
            network=network, scales=[list(scale) for scale in stage.scales], flip=stage.flip, keep_ratio=True,
            max_zoom=stage.max_zoom, batch_size=stage.batch_size, **_preprocessing(stage.detector),
            test_cfg=_test_cfg(plan.graphs[network], stage.test_cfg),
            clips_boxes=bool(stage.detector.clips_boxes), end_to_end=stage.end_to_end,
            input_rule=_plain(stage.detector.input_rule),
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


def _serves(plan: Plan, network: str, stage: DetectionStage) -> bool:
    """Whether a network gives the candidates of a stage, too, if need be with more of low score."""
    graph, wanted = plan.graphs[network], stage.test_cfg
    known = graph.settings
    keys = ('nms_pre', 'min_bbox_size', *(['max_per_img'] if stage.end_to_end else []))  # those end in the network
    same = all(known.get(key) == wanted.get(key) for key in keys)
    one_threshold = known.get('score_thr', 0) == wanted.get('score_thr', 0)
    return plan.detectors[network] is stage.detector and same and (one_threshold or not graph.has_factors)


def _test_cfg(graph: ExportGraph, settings: ConfigDict) -> dict[str, Any]:
    """The settings that are left for the runtime; a threshold that comes before a factor was applied in the graph."""
    found = {key: _plain(settings.get(key)) for key in _TEST_CFG if settings.get(key) is not None}
    if graph.legacy and found.get('nms'):
        found['nms'] = dict(found['nms'], offset=1)
    return dict(found, score_thr=0.0) if graph.has_factors else found


def _preprocessing(detector: BaseDetector) -> dict[str, Any]:
    """What the data preprocessor of a detector does, as the manifest has it."""
    given = detector.data_preprocessor
    mean, std = None, None
    if given.normalises:  # 123.675 rather than the float64 that is nearest to its float32
        mean, std = ([float(str(value)) for value in each.flatten().numpy()] for each in (given.mean, given.std))
    return dict(mean=mean, std=std, bgr_to_rgb=bool(given.swaps_channels), pad_divisor=given.pad_size_divisor, pad_value=given.pad_value)  # fmt: skip


def _steps(cfg: Config) -> Iterator[Any]:
    """The transforms of the test pipeline between loading and packing.

    Raises:
        ConfigError: images are loaded in a way that the runtime does not have.
    """
    for step in Compose(test_pipeline_config(cfg)).transforms:
        if isinstance(step, LoadImageFromFile) and (
            type(step) is not LoadImageFromFile or step.to_float32 or step.color_type != 'color'
        ):
            message = "must load by LoadImageFromFile, with to_float32 False and color_type 'color': the runtime reads images of three channels in 8 bits, upright"  # fmt: skip
            received = type(step).__name__, step.to_float32, step.color_type
            raise ConfigError(message, file=cfg.filename, field='test_pipeline', received=received)
        if not isinstance(step, LoadImageFromFile | LoadAnnotations | PackDetInputs):
            yield step


def _resize_settings(cfg: Config) -> dict[str, Any]:
    """How the test pipeline resizes, as the manifest has it.

    Raises:
        ConfigError: a transform that the runtime does not have.
    """
    found: dict[str, Any] = {}
    for step in _steps(cfg):
        kind = type(step)
        if (
            kind is Resize
            and not found
            and step.interpolation == 'bilinear'
            and max(step.scale or [float('inf')]) < float('inf')
        ):
            found = dict(scales=[[int(side) for side in step.scale]], keep_ratio=step.keep_ratio)
        elif kind is WarpResize and not found and not step._moves():
            canvas = dict(warp=step.fit, color=_color(step.border_val))
            found = dict(scales=[list(step.scale)], keep_ratio=step.fit != 'stretch', canvas=canvas)
        elif (
            kind is Pad
            and found
            and 'canvas' not in found
            and step.padding_mode == 'constant'
            and not step.size_divisor
        ):
            size = None if step.size is None else list(step.size)
            found['canvas'] = dict(size=size, square=step.pad_to_square, color=_color(step.pad_val))
        else:
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
