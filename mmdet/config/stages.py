"""Stages of composite detectors, read from the configs that train them."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config, ConfigDict

from ..errors import ConfigError
from .reading import load_config

# The test pipeline of a composite detector, whose stages resize by themselves.
FULL_RESOLUTION = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
]


def inner_test_dataset(config: Config, key: str = '') -> dict:
    """The test dataset of a config inside its wrappers: the first of a concatenation, or the outermost that has ``key``."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while key not in dataset and ('dataset' in dataset or dataset.get('datasets')):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset


def test_pipeline_config(config: Config) -> list[dict]:
    """Transform configs of the config's test dataset, which may be wrapped, or else its ``test_pipeline``.

    Raises:
        ConfigError: the config has no test pipeline.
    """
    pipeline = inner_test_dataset(config, 'pipeline').get('pipeline') or config.get('test_pipeline')
    if not pipeline:
        raise ConfigError('has no test pipeline', file=config.filename, field='test_dataloader.dataset.pipeline')
    return pipeline


vars(test_pipeline_config)['__test__'] = False  # so that pytest does not take it for a test


def only_detector(model: Mapping) -> Mapping | None:
    """The config of the detector that is both stages of the config of a ``UFPMPDet``; None for other models."""
    coarse, fine = model.get('coarse'), model.get('fine') or {}
    return coarse.get('detector') if isinstance(coarse, Mapping) and not fine.get('detector') else None


def is_single_detector(model: Mapping | None) -> bool:
    """Whether the config of a model is that of a detector without stages of its own."""
    parts = [part for part in (model or {}).values() if isinstance(part, Mapping)]
    return 'type' in (model or {}) and not any('detector' in part for part in parts)


def forbid_network(node: Any) -> None:
    """Let no module of a config fetch files (``load='hub'``), in place: a test or a prediction works with what is there."""
    if isinstance(node, Mapping):
        if node.get('load') == 'hub' and 'type' in node:
            cast(dict, node)['load'] = 'local'
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for part in node:
            forbid_network(part)


def stage_scales(config: Config) -> list[tuple[int, int]]:
    """The sizes (w, h) to which a config resizes test images, in its ``tta_pipeline`` or else in its test pipeline.

    Raises:
        ConfigError: the pipeline does not resize.
    """
    steps = config.get('tta_pipeline') or test_pipeline_config(config)
    found = []
    for step in steps:
        views = step.get('transforms') or [[step]]
        for view in (view for alternatives in views for view in alternatives):
            if isinstance(view, dict) and view.get('type') in ('Resize', 'WarpResize'):
                scale = view.get('scale') or view.get('img_scale')
                found.append(tuple(scale) if isinstance(scale, (list, tuple)) else (scale, scale))
    if not found or any(None in scale for scale in found):
        raise ConfigError('needs a Resize with a scale', file=config.filename, field='test pipeline', received=steps)
    return list(dict.fromkeys(found))


def stage_config(path: str | Path, checkpoint: str | None = None, flip: bool = True) -> ConfigDict:
    """The ``coarse``, ``fine`` or ``stage`` of a composite detector, from the config that trains it.

    Args:
        path: config of a single detector; a config file writes ``'{{fileDirname}}/coarse_det.py'`` for its neighbour.
        checkpoint: weights of the stage; None takes the last epoch of the training, ``work_dirs/<config name>/epoch_<max_epochs>.pth``.
        flip: whether the stage detects on the flipped image, too.

    Returns:
        ``detector``, the config's model without the settings that only training uses, ``scale`` (w, h) of its test images (a list where they are
        several), and ``flip``.

    Raises:
        ConfigError: the file cannot be read, has no single detector, or its test pipeline does not resize.
    """
    config = load_config(path)
    if not is_single_detector(config.get('model')):
        raise ConfigError('has no model that is a single detector, as a stage must be', file=path, field='model')
    detector = ConfigDict({key: value for key, value in config.model.items() if key != 'train_cfg'})
    if 'backbone' in detector:
        detector.backbone.pop('init_cfg', None)
    checkpoint = checkpoint or f'work_dirs/{Path(path).stem}/epoch_{config.train_cfg.max_epochs}.pth'
    detector.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    scales = stage_scales(config)
    return ConfigDict(detector=detector, scale=scales[0] if len(scales) == 1 else scales, flip=flip)


# Class-agnostic: the clustering needs places, and one box for each.
COARSE_TEST_CFG = dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True))


def composite_settings(
    scales: Sequence[Sequence[int]], max_per_img: int, tile_wh: tuple[int, int] | None = None, overlap: float = 0.2
) -> tuple[str, dict]:
    """Kind and arguments, beside the stages, of a composite detector around a single one.

    Args:
        scales: sizes (w, h) to which both looks resize.
        max_per_img: of the detector; the composite keeps 500 at least.
        tile_wh, overlap: as for :func:`composite_config`.
    """
    kept = max(max_per_img, 500)
    if tile_wh is not None:
        return 'SlicedDet', dict(tile_wh=tile_wh, overlap=overlap, max_per_img=kept)
    ufp = dict(scale=1.5, mode='exact', max_side=max(max(scale) for scale in scales), min_score=0.2)
    return 'UFPMPDet', dict(ufp=ufp, coarse_weight=1.0, on_empty='whole', max_per_img=kept)


def composite_config(
    config: Config, *, tile_wh: tuple[int, int] | None = None, overlap: float = 0.2, flip: bool = False
) -> Config:
    """The config of a composite detector around a single one, which looks at an image whole and then closer; for prediction only.

    Args:
        config: config of a single detector. Both looks resize to the scales of its test pipeline.
        tile_wh: width and height of the tiles of a ``SlicedDet``, which looks at all of the image; None: a ``UFPMPDet``, which packs the regions of
            what it found. The coarse boxes are merged, too, with their own scores; regions of low scores are left out.
        overlap: share of a tile that the next one repeats.
        flip: look at the flipped image, too.

    Raises:
        ConfigError: the model is a composite one already, or its test pipeline does not resize.
    """
    detector: ConfigDict = config.get('model') or ConfigDict()
    if not is_single_detector(detector):
        raise ConfigError(
            'must be a single detector to look at tiles or packed regions',
            file=config.filename, field='model', received=detector.get('type'),
        )  # fmt: skip
    scales = stage_scales(config)
    stage = dict(detector=detector.to_dict(), scale=scales, flip=flip)
    limit = (detector.get('test_cfg') or {}).get('max_per_img', 100)
    kind, settings = composite_settings(scales, limit, tile_wh, overlap)
    if kind == 'SlicedDet':
        model: dict = dict(stage=stage, whole=dict(scale=scales))
    else:
        model = dict(coarse=dict(stage, test_cfg=COARSE_TEST_CFG), fine=dict(scale=scales))
    composite = config.copy()
    composite.model = ConfigDict(model, type=kind, **settings)
    composite.test_pipeline = copy.deepcopy(FULL_RESOLUTION)
    composite.test_dataloader = dict(dataset=dict(pipeline=copy.deepcopy(FULL_RESOLUTION)))
    return composite
