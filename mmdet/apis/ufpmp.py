"""UFPMP-Det and its baselines from the configs and checkpoints of their stages."""

from pathlib import Path

import torch
from mmengine.config import Config

from ..config.stages import stage_scales
from ..engine.checkpoint.converting import join_checkpoints
from ..errors import ConfigError
from ..models.detectors import DetectionStage, SlicedDet, UFPMPDet
from .building import init_detector, load_parts, read_config

_FULL_RESOLUTION = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
]


def build_stage(
    config: str | Path | Config,
    checkpoint: str | None = None,
    *,
    device: str | torch.device | None = None,
    flip: bool = True,
    batch_size: int = 8,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
):
    """A detector as a stage: full-resolution image tensors in, boxes in their pixels out.

    Args:
        config: of a one-stage detector; its test pipeline says the scale.
        checkpoint: its weights; None leaves them random.
        device: None takes the first GPU, or the CPU where there is none.
        flip: look at the flipped image too.
        batch_size: views in one pass.
        cfg_options: overrides of the config.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint; only for files of your own.

    Returns:
        a ``DetectionStage`` in evaluation mode; ``stage.detector.dataset_meta`` has the class names.

    Raises:
        ConfigError, CheckpointError: as :func:`mmdet.apis.init_detector`; a detector that cannot be a stage.
    """
    config = read_config(config, cfg_options)
    detector = init_detector(config, checkpoint, device=device, trust_checkpoint=trust_checkpoint)
    if not hasattr(detector, 'bbox_head'):
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
    **options,
):
    """UFPMP-Det from the configs of its two stages.

    The stages keep their own ``test_cfg``; they see images at the scales of their test pipelines.

    Args:
        coarse_config, fine_config: path of a config, or a Config.
        coarse_checkpoint, fine_checkpoint: weights of the stages; None leaves them random.
        device, flip, batch_size, trust_checkpoint: see :func:`build_stage`.
        cfg_options: overrides of both configs.
        options: further arguments of ``UFPMPDet``: ``ufp``, ``nms``, ``min_overlap``, ``coarse_weight``, ``on_empty`` ...

    Returns:
        the ``UFPMPDet`` in evaluation mode, for :func:`mmdet.apis.inference_detector`; with ``dataset_meta`` of the fine stage.

    Raises:
        ConfigError, CheckpointError: see :func:`build_stage`; stages of different class counts.
    """
    shared = dict(
        device=device, flip=flip, batch_size=batch_size, cfg_options=cfg_options, trust_checkpoint=trust_checkpoint
    )
    stages = [
        build_stage(config, checkpoint, **shared)
        for config, checkpoint in ((coarse_config, coarse_checkpoint), (fine_config, fine_checkpoint))
    ]
    settings = [dict(detector=stage.detector, scale=stage.scales, flip=flip, batch_size=batch_size) for stage in stages]
    return _ready(UFPMPDet(*settings, **options), stages[1])


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
):
    """The baselines of UFPMP-Det from the config of one detector: on overlapping tiles and the whole image, or on the image alone.

    Args:
        config, checkpoint, device, flip, batch_size, trust_checkpoint: see :func:`build_stage`. A tile, too, is resized to the scale of the
            test pipeline. A class-agnostic NMS, which suits a first stage, becomes one per class.
        tile_wh: of the tiles, in pixels; None looks at the whole image only.
        overlap: share of a tile that the next one repeats.
        cfg_options: overrides of the config.

    Returns:
        the ``SlicedDet`` in evaluation mode, with ``dataset_meta``.

    Raises:
        ConfigError, CheckpointError: see :func:`build_stage`; a tile or an overlap out of range.
    """
    options = {**(cfg_options or {}), 'model.test_cfg.nms.class_agnostic': False}
    stage = build_stage(
        config, checkpoint, device=device, flip=flip, batch_size=batch_size, cfg_options=options,
        trust_checkpoint=trust_checkpoint,
    )  # fmt: skip
    settings = dict(scale=stage.scales, flip=flip, batch_size=batch_size)
    model = SlicedDet(
        dict(detector=stage.detector, **settings), tile_wh, overlap, whole=None if tile_wh is None else settings,
        nms=dict(stage.test_cfg.nms), max_per_img=stage.test_cfg.get('max_per_img', -1),
    )  # fmt: skip
    return _ready(model, stage)


def _ready(model, stage):
    """A detector made of detectors with what inference asks of it: class names, pipeline and device, those of one of its stages."""
    model.dataset_meta = stage.detector.dataset_meta
    model.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=_FULL_RESOLUTION))))
    return model.to(next(stage.parameters()).device).eval()


__all__ = ['build_sliced', 'build_stage', 'build_ufpmp', 'join_checkpoints', 'load_parts', 'stage_scales']
