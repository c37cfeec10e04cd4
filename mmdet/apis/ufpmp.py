"""Building UFPMP-Det and its baselines from the configs and checkpoints of their stages."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.config import Config

from mmdet_runtime.suppression import ACROSS_VIEWS

from ..config.stages import FULL_RESOLUTION, stage_scales
from ..engine.checkpoint.converting import join_checkpoints
from ..errors import ConfigError
from ..models.detectors import CompositeDetector, DetectionStage, SlicedDet, UFPMPDet
from .building import init_detector, load_parts, read_config

Composite = TypeVar('Composite', bound=CompositeDetector)


def build_stage(
    config: str | Path | Config,
    checkpoint: str | None = None,
    *,
    device: str | torch.device | None = None,
    flip: bool = True,
    batch_size: int = 8,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
) -> DetectionStage:
    """Build a detector as a stage of a composite one: it takes image tensors in full resolution and returns boxes in their pixels.

    Args:
        config: config of a single detector; its test pipeline has the scale.
        checkpoint: its weights; None leaves them random.
        device: None takes the first GPU, or the CPU where there is none.
        flip: also detect on the flipped image.
        batch_size: views per forward pass.
        cfg_options: overrides of the config.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint; only for files of your own.

    Returns:
        The stage in evaluation mode; ``stage.detector.dataset_meta`` has the class names.

    Raises:
        ConfigError, CheckpointError: as :func:`mmdet.apis.init_detector`; also for a detector that cannot be a stage.
    """
    config = read_config(config, cfg_options)
    detector = init_detector(config, checkpoint, device=device, trust_checkpoint=trust_checkpoint)
    if not hasattr(detector, 'detection_cfg'):
        message = 'must be the config of a single detector'
        raise ConfigError(message, file=config.filename, field='model', received=type(detector).__name__)
    return DetectionStage(detector, stage_scales(config), flip, batch_size).eval()


def build_ufpmp(
    coarse_config: str | Path | Config,
    fine_config: str | Path | Config,
    coarse_checkpoint: str | None = None,
    fine_checkpoint: str | None = None,
    *,
    device: str | torch.device | None = None,
    flip: bool = True,
    batch_size: int = 8,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
    **options: Any,
) -> UFPMPDet:
    """Build UFPMP-Det from the configs of its two stages. Each keeps its ``test_cfg`` and the scales of its test pipeline.

    Args:
        coarse_config, fine_config: path of a config, or a Config.
        coarse_checkpoint, fine_checkpoint: weights of the stages; None leaves them random.
        device, flip, batch_size, trust_checkpoint: as for :func:`build_stage`.
        cfg_options: overrides of both configs.
        options: further arguments of ``UFPMPDet``: ``ufp``, ``nms``, ``min_overlap``, ``coarse_weight``, ``on_empty`` ...

    Returns:
        The detector in evaluation mode, for :func:`mmdet.apis.inference_detector`, with ``dataset_meta`` of the fine stage.

    Raises:
        ConfigError, CheckpointError: as :func:`build_stage`; also for stages with different numbers of classes.
    """
    coarse, fine = (
        build_stage(
            config, checkpoint, device=device, flip=flip, batch_size=batch_size, cfg_options=cfg_options,
            trust_checkpoint=trust_checkpoint,
        )
        for config, checkpoint in ((coarse_config, coarse_checkpoint), (fine_config, fine_checkpoint))
    )  # fmt: skip
    first, second = _stage_config(coarse), _stage_config(fine)
    names = [stage.detector.dataset_meta['classes'] for stage in (coarse, fine)]
    if names[0] != names[1] and set(names[0]) & set(names[1]):  # otherwise by position, if the numbers are equal
        first['classes'], second['classes'] = names
    return _ready(UFPMPDet(first, second, **options), fine)


def build_sliced(
    config: str | Path | Config,
    checkpoint: str | None = None,
    *,
    tile_wh: tuple[int, int] | None = (640, 640),
    overlap: float = 0.2,
    device: str | torch.device | None = None,
    flip: bool = True,
    batch_size: int = 8,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
) -> SlicedDet:
    """Build a baseline of UFPMP-Det from one detector: it detects on overlapping tiles and the whole image, or on the image alone.

    It is in evaluation mode and has ``dataset_meta``.

    Args:
        config, checkpoint, device, flip, batch_size, trust_checkpoint: as for :func:`build_stage`. Tiles, too, are resized to the scale of
            the test pipeline. A class-agnostic NMS, which suits a first stage, becomes one per class.
        tile_wh: width and height of the tiles in pixels; None detects on the whole image only.
        overlap: share of a tile that the next one repeats.
        cfg_options: overrides of the config.

    Raises:
        ConfigError, CheckpointError: as :func:`build_stage`; also for a tile or an overlap out of range.
    """
    stage = build_stage(
        config, checkpoint, device=device, flip=flip, batch_size=batch_size, cfg_options=cfg_options,
        trust_checkpoint=trust_checkpoint,
    )  # fmt: skip
    if stage.test_cfg.get('nms'):
        stage.test_cfg.nms.class_agnostic = False
    whole = None if tile_wh is None else dict(scale=stage.scales, flip=flip, batch_size=batch_size)
    model = SlicedDet(
        _stage_config(stage), tile_wh, overlap, whole=whole,
        nms=dict(stage.test_cfg.get('nms') or ACROSS_VIEWS), max_per_img=stage.test_cfg.get('max_per_img', -1),
    )  # fmt: skip
    return _ready(model, stage)


def _stage_config(stage: DetectionStage) -> dict[str, Any]:
    """The config of a composite detector's stage that equals this one."""
    return dict(detector=stage.detector, scale=stage.scales, flip=stage.flip, batch_size=stage.batch_size)


def _ready(model: Composite, stage: DetectionStage) -> Composite:
    """Give a composite detector what inference needs: the class names and the device of a stage, and a pipeline."""
    model.dataset_meta = stage.detector.dataset_meta
    model.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=FULL_RESOLUTION))))
    return model.to(next(stage.parameters()).device).eval()


__all__ = ['build_sliced', 'build_stage', 'build_ufpmp', 'join_checkpoints', 'load_parts', 'stage_scales']
