"""Stages of composite detectors, read from the configs that train them."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..errors import ConfigError
from .reading import load_config


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
        path: config of a one-stage detector; a config file writes ``'{{fileDirname}}/coarse_det.py'`` for its neighbour.
        checkpoint: weights of the stage; None takes the last epoch of the training, ``work_dirs/<config name>/epoch_<max_epochs>.pth``.
        flip: whether the stage detects on the flipped image, too.

    Returns:
        ``detector``, the config's model without the settings that only training uses, ``scale`` (w, h) of its test images (a list where they are
        several), and ``flip``.

    Raises:
        ConfigError: the file cannot be read, has no single detector, or its test pipeline does not resize.
    """
    config = load_config(path)
    if 'backbone' not in config.get('model', {}):
        raise ConfigError('has no model with a backbone, which a stage must be', file=path, field='model')
    detector = ConfigDict({key: value for key, value in config.model.items() if key != 'train_cfg'})
    detector.backbone.pop('init_cfg', None)
    checkpoint = checkpoint or f'work_dirs/{Path(path).stem}/epoch_{config.train_cfg.max_epochs}.pth'
    detector.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    scales = stage_scales(config)
    return ConfigDict(detector=detector, scale=scales[0] if len(scales) == 1 else scales, flip=flip)
