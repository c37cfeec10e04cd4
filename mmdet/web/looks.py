"""One model that looks at an image in several ways: whole, in overlapping tiles, or twice, the second time at packed regions.

All ways of a model share its networks. Letters: R regions, N boxes.
"""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mmdet_runtime.composite import UFPMPDet as RuntimeUFPMPDet
from mmdet_runtime.detector import Runtime, load
from mmdet_runtime.folder import MANIFEST

from ..apis.building import init_detector
from ..apis.inference import ImagePipeline, predict_batch
from ..apis.prediction import config_and_weights
from ..config.stages import COARSE_TEST_CFG, composite_config, composite_settings, test_pipeline_config
from ..errors import ConfigError
from ..models.detectors import CompositeDetector, SlicedDet, UFPMPDet
from ..registry import MODELS
from ..utils.timing import synchronise
from ..visualization.drawing import palette

LOOKS = ('whole', 'tiled', 'packed')


@dataclasses.dataclass
class Found:
    """Boxes xyxy (N, 4) with scores (N,) and labels (N,), in pixels of the image or of the mosaic; ``ids`` (N,) are of tracks."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    ids: np.ndarray | None = None

    @classmethod
    def of(cls, found: Any) -> 'Found':
        """Of instances of the toolbox, or of detections of the runtime."""
        values = [getattr(found.bboxes, 'tensor', found.bboxes), found.scores, found.labels]
        return cls(*(value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for value in values))


@dataclasses.dataclass
class Look:
    """What one look found.

    Attributes:
        found: the result.
        seconds: of the steps that the model tells apart, by name; ``total`` is all of it.
        coarse: the boxes of the first pass, in pixels of the image; None for a look of one pass. So are those below.
        regions: (R, 7) x, y, w, h in the image, X, Y in the mosaic, zoom.
        mosaic: (h, w, 3) uint8 BGR.
        fine: the boxes of the second pass, in pixels of the mosaic.
    """

    found: Found
    seconds: dict[str, float]
    coarse: Found | None = None
    regions: np.ndarray | None = None
    mosaic: np.ndarray | None = None
    fine: Found | None = None


class Model:
    """A loaded model: ``classes``, ``colors`` (RGB, one for each class), and ``looks``, the ways in which it can look at an image."""

    classes: tuple[str, ...]
    colors: list[tuple[int, ...]]
    looks: tuple[str, ...]

    def look(self, way: str, image: np.ndarray) -> Look:
        """Detect in an image.

        Args:
            way: one of ``looks``.
            image: (H, W, 3) uint8 BGR.

        Raises:
            ConfigError: the model cannot look in this way.
        """
        if way not in self.looks:
            raise ConfigError(f'this model can be looked with only by {self.looks}', field='look', received=way)
        start = time.perf_counter()
        seen = self._look(way, image)
        seen.seconds['total'] = time.perf_counter() - start
        return seen

    def _look(self, way: str, image: np.ndarray) -> Look:
        raise NotImplementedError


class ToolboxModel(Model):
    """A detector of a config and a checkpoint.

    Args:
        config, checkpoint: as for :func:`~mmdet.apis.init_detector`.
        device: None takes the first GPU, or the CPU.
        tile_wh, overlap: of the tiled look.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint.
    """

    def __init__(
        self, config: str | Config, checkpoint: str | None, *, device: str | None = None, tile_wh: tuple[int, int] = (640, 640),
        overlap: float = 0.2, trust_checkpoint: bool = False,
    ):  # fmt: skip
        self._model = init_detector(config, checkpoint, device=device, trust_checkpoint=trust_checkpoint)
        self._device = next(self._model.parameters()).device
        meta = self._model.dataset_meta
        self.classes = tuple(meta['classes'])
        self.colors = [tuple(color) for color in meta.get('palette') or palette(len(self.classes))]
        self._detectors: dict[str, CompositeDetector] = {}
        if isinstance(self._model, SlicedDet):
            self._detectors['tiled'] = self._model
        elif isinstance(self._model, UFPMPDet):
            self._detectors['packed'] = self._model
        elif isinstance(self._model, CompositeDetector):
            raise ConfigError(
                'must be a single detector, a SlicedDet or a UFPMPDet', file=self._model.cfg.filename, field='model'
            )
        else:
            self._pipeline = ImagePipeline(test_pipeline_config(self._model.cfg))
            try:
                for way, size in (('tiled', tile_wh), ('packed', None)):
                    self._detectors[way] = self._around(
                        composite_config(self._model.cfg, tile_wh=size, overlap=overlap)
                    )
            except ConfigError:  # its test pipeline does not resize, or its head gives no candidates
                self._detectors.clear()
        self.looks = (*self._whole_looks(), *self._detectors)

    def _whole_looks(self) -> tuple[str, ...]:
        """``whole`` unless there is only a tiled look, or a coarse stage that knows none of the classes."""
        if isinstance(self._model, UFPMPDet):
            known = self._model._fine_labels
            self._labels = torch.arange(self._model.coarse.num_classes) if known is None else torch.as_tensor(known)
            return ('whole',) if bool((self._labels >= 0).any()) else ()
        return () if isinstance(self._model, SlicedDet) else ('whole',)

    def _around(self, config: Any) -> CompositeDetector:
        """The composite detector of a config, with the network that is there."""
        arguments = config.model.to_dict()
        kind = arguments.pop('type')
        arguments['stage' if kind == 'SlicedDet' else 'coarse']['detector'] = self._model
        return MODELS.get(kind)(**arguments).to(self._device).eval()

    @torch.no_grad()
    def _look(self, way: str, image: np.ndarray) -> Look:
        detector = self._detectors.get(way)
        if detector is None and isinstance(self._model, UFPMPDet):
            found = self._model.coarse([self._as_tensor(image)])[0]
            found.labels = self._labels.to(found.labels.device)[found.labels]
            return Look(Found.of(found[found.labels >= 0]), {})
        if detector is None:
            start = time.perf_counter()
            sample = self._pipeline.load(image)[0]
            loaded = time.perf_counter()
            found = predict_batch(self._model, [sample])[0].pred_instances
            synchronise(self._device)
            return Look(Found.of(found), dict(resizing=loaded - start, network=time.perf_counter() - loaded))
        detector.stage_times.clear()
        detector.stage_sizes.clear()
        detector.record_times = True
        if not isinstance(detector, UFPMPDet):
            found = detector.detect([self._as_tensor(image)])[0]
            return Look(Found.of(found), _sums(detector.stage_times))
        steps = detector.trace([self._as_tensor(image)])[0]
        look = Look(Found.of(steps.merged), _sums(detector.stage_times), Found.of(steps.coarse))
        look.regions = steps.regions.cpu().numpy()
        if steps.fine is not None:
            pixels = steps.mosaic.round().clamp(0, 255).to(torch.uint8)
            look.mosaic, look.fine = pixels.permute(1, 2, 0).cpu().numpy(), Found.of(steps.fine)
        return look

    def _as_tensor(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(self._device)


class ExportedModel(Model):
    """A folder that ``mmdet_runtime`` runs; a single detector in it is tiled and packed, too.

    Where the NMS is in the network, the coarse boxes are those that it leaves of each class.

    Args:
        folder: what :func:`mmdet_runtime.load` takes.
        tile_wh, overlap: of the tiled look.
    """

    def __init__(self, folder: str, *, tile_wh: tuple[int, int] = (640, 640), overlap: float = 0.2):
        loaded = load(folder)
        self.classes, self.colors = loaded.classes, [tuple(color) for color in palette(len(loaded.classes))]
        self._runtimes = {dict(detector='whole', SlicedDet='tiled', UFPMPDet='packed')[loaded.folder.kind]: loaded}
        if not loaded.is_composite:
            stage = loaded.folder.stages['detector']
            for way, size in (('tiled', tile_wh), ('packed', None)):
                self._runtimes[way] = _composite_runtime(loaded, stage, size, overlap)
        self.looks = tuple(self._runtimes)

    def _look(self, way: str, image: np.ndarray) -> Look:
        runtime = self._runtimes[way]
        runtime.clock.clear()
        if not isinstance(runtime.detector, RuntimeUFPMPDet):
            found = Found.of(runtime(image))
            return Look(found, _sums(runtime.clock.times))
        steps = runtime.detector.trace([image])[0]
        look = Look(Found.of(steps.merged), _sums(runtime.clock.times), Found.of(steps.coarse), np.zeros((0, 7)))
        if steps.mosaic is not None:
            look.regions, look.mosaic = steps.mosaic.regions, steps.mosaic.pixels(np.uint8)
            look.fine = Found.of(steps.fine)
        return look


def _composite_runtime(single: Runtime, stage: Mapping, tile_wh: tuple[int, int] | None, overlap: float) -> Runtime:
    """A composite detector around the network of an exported folder, with the settings of :func:`~mmdet.config.stages.composite_config`."""
    kind, settings = composite_settings(stage['scales'], stage['test_cfg'].get('max_per_img', 100), tile_wh, overlap)
    once = {**stage, 'flip': False}
    if tile_wh is None:
        stages = dict(coarse={**once, 'test_cfg': {**stage['test_cfg'], **COARSE_TEST_CFG}}, fine=once)
    else:
        stages = dict(stage=once, whole=once)
    folder = dataclasses.replace(single.folder, kind=kind, stages=stages, composite=settings)
    return Runtime(folder, single.networks)


def _sums(times: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(sum(values)) for name, values in times.items()}


def load_model(source: str, weights: str | None = None, *, trust_checkpoint: bool = False, **options: Any) -> Model:
    """Load what a user named: an exported folder, the name of a model, a config, or a checkpoint with its config beside it.

    Args:
        source: the model.
        weights: checkpoint; None takes the published one of a name, and those that a config names.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint.
        **options: of :class:`ToolboxModel` or :class:`ExportedModel`.
    """
    if is_exported(source):
        options.pop('device', None)
        return ExportedModel(source, **options)
    config, checkpoint = config_and_weights(source, weights, trust_checkpoint=trust_checkpoint)
    return ToolboxModel(config, checkpoint, trust_checkpoint=trust_checkpoint, **options)


def is_exported(source: str) -> bool:
    """Whether a path is an exported folder, or its manifest."""
    path = Path(source)
    return path.name == MANIFEST or (path / MANIFEST).is_file()
