"""Building a detector from a config and a checkpoint, and running it on single images."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from ..datasets.image_io import decode_image
from ..registry import DATASETS, MODELS, TRANSFORMS
from ..structures import DetDataSample
from ..utils.config import load_config
from ..utils.errors import CheckpointError, ConfigError, DataError, MMDetError
from ..utils.setup_env import register_all_modules
from .sources import check_array

PALETTES = ('none', 'coco', 'voc', 'random')


def init_detector(
    config: str | Path | Config,
    checkpoint: str | None = None,
    palette: str | Sequence = 'none',
    device: str | torch.device | None = None,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
):
    """Build the detector of a config, load its weights, and make it ready for :func:`inference_detector`.

    Args:
        config: path of a config file, or a Config.
        checkpoint: path, URL or known name of the weights; None leaves the initial random weights (and says so). A detector made of
            detectors then reads the checkpoints that its config names for them.
        palette: colours for drawing: 'none' (the dataset's own, or this package's), 'coco', 'voc', 'random' (fixed seed), or RGB tuples.
        device: None takes the first GPU, or the CPU where there is none.
        cfg_options: overrides, ``{'model.test_cfg.score_thr': 0.1}``.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint; only for files of your own.

    Returns:
        The detector in evaluation mode, with ``cfg`` (the Config) and ``dataset_meta`` (``classes``, ``palette``).

    Raises:
        ConfigError: the config or device cannot be used.
        CheckpointError: the checkpoint is missing, unsafe, or does not fit.
    """
    register_all_modules()
    config = read_config(config, cfg_options)
    if 'model' not in config:
        raise ConfigError('the config has no model', file=config.filename, field='model')
    device = choose_device(device)
    model_cfg = _without_pretrained(config.model.to_dict() if hasattr(config.model, 'to_dict') else dict(config.model))
    model = MODELS.build(ConfigDict(model_cfg))

    meta: dict | None = None
    if checkpoint is None and is_composite(model):
        from .ufpmp import load_parts

        meta = load_parts(model, config.model, trust_checkpoint)
    if checkpoint is None and meta is None:
        print_log('no checkpoint given: the weights are random and so are the predictions', logger='current', level=30)
    elif checkpoint is not None:
        from ..engine.checkpoint import load_checkpoint_file, load_into

        content = load_checkpoint_file(checkpoint, trust=trust_checkpoint)
        report = load_into(model, content['state_dict'], complete=True)
        if report.unexpected:
            print_log(
                '\n  '.join([f'{checkpoint} holds more than the model:', *report.lines()]), logger='current', level=30
            )
        meta = content['meta']
    model.dataset_meta = _dataset_meta(meta or {}, config, _num_classes(model))
    colors = _palette_colors(palette, len(model.dataset_meta['classes']))
    if colors is not None:
        model.dataset_meta['palette'] = colors
    model.cfg = config
    return model.to(device).eval()


def inference_detector(model, imgs, test_pipeline=None) -> DetDataSample | list[DetDataSample]:
    """Run a detector on images, one at a time.

    Args:
        model: what :func:`init_detector` returned.
        imgs: a path, a BGR uint8 array, or a list of these.
        test_pipeline: list of transform configs; None takes that of the config's test dataset.

    Returns:
        One data sample, or a list of them for a list; ``pred_instances`` has boxes in pixels of the original image.

    Raises:
        DataError: an image cannot be read.
    """
    pipeline = ImagePipeline(test_pipeline or test_pipeline_config(model.cfg))
    many = isinstance(imgs, (list, tuple))
    samples = [predict_batch(model, [pipeline(image)[0]])[0] for image in (imgs if many else [imgs])]
    return samples if many else samples[0]


class ImagePipeline:
    """A test pipeline that takes paths, addresses (``http(s)://``) and arrays alike; what loads annotations is left out.

    Calling it is safe from several threads at once.

    Raises:
        ConfigError: the pipeline does not start by loading an image.
    """

    def __init__(self, transforms: Sequence[dict] | Callable[[dict], dict]):
        self._composed = transforms if callable(transforms) else None
        if self._composed is not None:
            return
        transforms = [dict(transform) for transform in transforms if _short_type(transform) != 'LoadAnnotations']
        if not transforms or not _short_type(transforms[0]).startswith('LoadImage'):
            raise ConfigError(
                'a test pipeline must start with LoadImageFromFile', field='test_pipeline', received=transforms[:1]
            )
        options = {key: value for key, value in transforms[0].items() if key in ('to_float32', 'color_type')}
        self._load_file = TRANSFORMS.build({**transforms[0], 'type': 'LoadImageFromFile'})
        self._load_array = TRANSFORMS.build({**options, 'type': 'LoadImageFromNDArray'})
        self._steps = [TRANSFORMS.build(transform) for transform in transforms[1:]]

    def __call__(self, image: str | os.PathLike | np.ndarray, img_id: int = 0) -> tuple[dict, np.ndarray]:
        """Load and transform one image.

        Returns:
            The packed sample (``inputs``, ``data_samples``), and the loaded image (H, W, 3) BGR.

        Raises:
            DataError: the image cannot be read or transformed; the message names it.
        """
        results: dict = {'img_id': img_id}
        if self._composed is not None:
            if isinstance(image, np.ndarray):
                image = check_array(image)
                return self._composed({**results, 'img': image}), image
            return self._composed({**results, 'img_path': os.fspath(image)}), decode_image(os.fspath(image))
        try:
            if isinstance(image, np.ndarray):
                results = self._load_array({**results, 'img': check_array(image)})
            else:
                results = self._load_file({**results, 'img_path': os.fspath(image)})
            if results is None:
                raise DataError('the image could not be decoded', file=image)
            original = results['img']
            for step in self._steps:
                results = step(results)
        except MMDetError:
            raise
        except OSError as error:
            raise DataError(f'cannot be read ({error.strerror or error})', file=image) from error
        return results, original


def test_pipeline_config(config: Config) -> list[dict]:
    """Transform configs of the config's test dataset, looked for inside dataset wrappers too.

    Raises:
        ConfigError: the config names no test pipeline.
    """
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset:
        inner = dataset.get('dataset') or (dataset.get('datasets') or [None])[0]
        if inner is None:
            break
        dataset = inner
    pipeline = dataset.get('pipeline') or config.get('test_pipeline')
    if not pipeline:
        raise ConfigError('names no test pipeline', file=config.filename, field='test_dataloader.dataset.pipeline')
    return pipeline


test_pipeline_config.__test__ = False  # its name is not that of a test


@torch.no_grad()
def predict_batch(model, batch: list[dict]) -> list[DetDataSample]:
    """Predictions for packed samples, in order, whatever else shares the batch.

    Samples whose padded sizes differ run apart: zero padding beside a smaller image would change its border features, and with them its
    predictions. (Detectors made of detectors see to that themselves.)
    """
    if batch and is_composite(model):
        return model.test_step(pseudo_collate(batch))
    divisor = getattr(getattr(model, 'data_preprocessor', None), 'pad_size_divisor', 1) or 1
    groups: dict[tuple, list[int]] = {}
    for index, sample in enumerate(batch):
        padded_hw = tuple(-(-side // divisor) * divisor for side in sample['inputs'].shape[-2:])
        groups.setdefault(padded_hw, []).append(index)
    results: list = [None] * len(batch)
    for indices in groups.values():
        for index, result in zip(indices, model.test_step(pseudo_collate([batch[i] for i in indices]))):
            results[index] = result
    return results


def is_composite(model) -> bool:
    """Whether a model is a detector made of detectors, such as UFPMPDet."""
    from ..models.detectors import CompositeDetector

    return isinstance(model, CompositeDetector)


def read_config(config: str | Path | Config, cfg_options: dict | None = None) -> Config:
    """A Config of its own from a path or a Config, with overrides merged in."""
    if isinstance(config, (str, os.PathLike)):
        return load_config(config, cfg_options)
    if not isinstance(config, Config):
        raise ConfigError('config must be a path or a Config', received=type(config).__name__)
    config = config.copy()
    if cfg_options:
        config.merge_from_dict(cfg_options)
    return config


def choose_device(device: str | torch.device | None) -> torch.device:
    """The named device, or the best one here.

    Raises:
        ConfigError: an unknown name, or a GPU that this machine or build of torch does not have.
    """
    if device is None:
        return torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError("device must be like 'cpu' or 'cuda:0'", field='device', received=device) from error
    if chosen.type == 'cuda' and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"only {torch.cuda.device_count()} GPUs are visible; use 'cpu' or leave device out",
            field='device',
            received=device,
        )
    return chosen


def _without_pretrained(node):
    """The same config without downloads: the checkpoint, or nothing, decides the weights here."""
    if isinstance(node, dict):
        pruned = {key: _without_pretrained(value) for key, value in node.items()}
        init = pruned.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            pruned['init_cfg'] = None
        if isinstance(pruned.get('pretrained'), str):
            pruned['pretrained'] = None
        return pruned
    if isinstance(node, (list, tuple)):
        return type(node)(_without_pretrained(value) for value in node)
    return node


def _dataset_meta(checkpoint_meta: dict, config: Config, num_classes: int | None) -> dict:
    """Class names from the checkpoint, else from the config's dataset, else numbers."""
    found = checkpoint_meta.get('dataset_meta') or {}
    found = {key.lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
    if 'classes' not in found and checkpoint_meta.get('CLASSES'):
        found = {'classes': checkpoint_meta['CLASSES'], 'palette': checkpoint_meta.get('PALETTE')}
    if not found.get('classes'):
        found = _config_dataset_meta(config)
    classes = found.get('classes') or ()
    classes = (classes,) if isinstance(classes, str) else tuple(str(name) for name in classes)
    if num_classes is not None and len(classes) != num_classes:
        if classes:
            print_log(
                f'{len(classes)} class names for a model of {num_classes} classes: the classes are numbered instead',
                logger='current',
                level=30,
            )
        return {'classes': tuple(f'class {k}' for k in range(num_classes))}
    return {**{key: value for key, value in found.items() if value is not None}, 'classes': classes}


def _config_dataset_meta(config: Config) -> dict:
    """Metainfo of the config's test dataset, without reading its annotations."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    dataset_type = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
    if dataset_type is None:
        return {}
    meta = dataset_type._load_metainfo(dataset.get('metainfo') or {})
    return {key.lower(): value for key, value in meta.items()}


def _num_classes(model) -> int | None:
    """Of a one-stage detector's head, or as a detector made of detectors says."""
    return getattr(getattr(model, 'bbox_head', model), 'num_classes', None)


def _palette_colors(palette, count: int) -> list | None:
    if not isinstance(palette, str):
        return [tuple(color) for color in palette]
    if palette == 'none':
        return None
    if palette == 'random':
        return [tuple(int(c) for c in color) for color in np.random.RandomState(42).randint(0, 256, (count, 3))]
    if palette == 'coco':
        return list(DATASETS.get('CocoDataset').METAINFO['palette'])
    if palette == 'voc':
        return [_voc_color(index + 1) for index in range(count)]
    raise ConfigError(f'palette must be one of {PALETTES} or a list of RGB tuples', field='palette', received=palette)


def _voc_color(index: int) -> tuple[int, int, int]:
    """Pascal VOC's colour map: the bits of the index, three at a time, become the highest bits of red, green and blue."""
    channels = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= ((index >> channel) & 1) << shift
        index >>= 3
    return tuple(channels)


def _short_type(transform: dict) -> str:
    name = transform['type']
    return name.rpartition('.')[2] if isinstance(name, str) else name.__name__


def find_config_beside(checkpoint: str | Path) -> Path:
    """The config that a training run left in the folder of its checkpoint.

    Looked for in this order: the only ``*.py`` of the folder; the newest ``*/vis_data/config.py``. The text of a config inside the
    checkpoint is never used.

    Raises:
        CheckpointError: the checkpoint is missing, or no single config lies beside it.
    """
    checkpoint = Path(checkpoint)
    if not checkpoint.is_file():
        raise CheckpointError('no such checkpoint file', file=checkpoint)
    candidates = sorted(checkpoint.parent.glob('*.py'))
    if not candidates:
        candidates = sorted(checkpoint.parent.glob('*/vis_data/config.py'))[-1:]
    if len(candidates) != 1:
        seen = f'{len(candidates)} configs' if candidates else 'no config'
        raise CheckpointError(
            f'{seen} beside the checkpoint, so its model is unknown; pass model=<config file>, weights=<this checkpoint>',
            file=checkpoint,
            received=[path.name for path in candidates],
        )
    return candidates[0]
