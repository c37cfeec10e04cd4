"""Building a detector from a config and a checkpoint, composite detectors included."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ..config.config_files import require_data
from ..config.reading import load_config
from ..config.stages import forbid_network, inner_test_dataset
from ..engine.checkpoint.loading import load_into, match_stages
from ..engine.checkpoint.reading import load_checkpoint_file
from ..errors import CheckpointError, ConfigError, MMDetError
from ..models.detectors import BaseDetector, CompositeDetector, DetectionStage, TransformersDetector
from ..models.inference import InferenceOptions
from ..registry import DATASETS, MODELS
from ..utils.class_names import class_names, shown
from ..utils.setup_env import register_all_modules
from ..visualization.drawing import RGB, as_rgb
from .backends import BackendSpec, prepare_for, read_backend


class ConfigTypeError(ConfigError, TypeError):
    """A config of a wrong type. Also a TypeError, as callers of mmdetection expect."""


CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.safetensors')
PALETTES = ('none', 'coco', 'voc', 'random')


def init_detector(
    config: str | Path | Config,
    checkpoint: str | None = None,
    palette: str | Sequence[Sequence[int]] = 'none',
    device: str | torch.device | None = None,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
    amp: bool | str | None = None,
    backend: str | None = None,
    precision: str | None = None,
    random_weights: bool = True,
) -> BaseDetector:
    """Build the detector of a config, load its weights, and make it ready for :func:`inference_detector`.

    Args:
        config: path of a config file, or a Config.
        checkpoint: path, URL or known name of the weights. With None a composite detector reads the checkpoints that its config names for
            its stages, and a ``TransformersDetector`` the weights of ``from_pretrained``; other models keep the random weights of construction, and
            a warning says so.
        palette: colours for drawing: 'none' (those of the dataset, else of this package), 'coco' (the published colours of COCO's classes),
            'voc' (Pascal VOC's colour map), 'random' (with a fixed seed), or RGB tuples.
        device: None takes the first GPU, or the CPU where there is none.
        cfg_options: overrides, ``{'model.test_cfg.score_thr': 0.1}``.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint; only for files of your own.
        amp: ``'bf16'``, ``'fp16'`` or True (float16 on a GPU, bfloat16 on the CPU) for mixed precision; None takes ``inference.amp`` of the
            config. That dict also has the layout and the folding, see :class:`~mmdet.models.inference.InferenceOptions`.
        backend, precision: what computes the network, and in which type, see :func:`~mmdet.apis.backends.use_backend`; None is eager torch.
        random_weights: False makes an error of what is a warning else: weights that stay random.

    Returns:
        The detector in evaluation mode, prepared for inference (parameters and state dict are as ever; ``train()`` undoes it), with ``cfg`` (the Config) and ``dataset_meta`` (``classes``, ``palette``).

    Raises:
        ConfigError: the config or device cannot be used, or weights are missing; a config of another type is also a TypeError.
        CheckpointError: the checkpoint is missing, unsafe, or does not fit.
    """
    config = read_config(config, cfg_options)
    device = choose_device(device, backend)
    model = build_model(config)
    content = None if checkpoint is None else load_checkpoint_file(checkpoint, trust=trust_checkpoint)
    load_weights(
        model, content, config, palette, checkpoint_name=checkpoint, trust_checkpoint=trust_checkpoint, random_weights=random_weights
    )  # fmt: skip
    return ready_for_inference(model.to(device), config, backend, precision, amp=amp)


def ready_for_inference(
    model: BaseDetector, config: Config, backend: str | None = None, precision: str | None = None, **options: Any
) -> BaseDetector:
    """The model in evaluation mode, its networks prepared as ``inference`` of the config and the backend say; ``options`` that are not None come
    before those of the config."""
    prepare_for(
        model.eval(), read_backend(backend, precision), InferenceOptions.read(config.get('inference'), **options)
    )
    return model


def build_model(config: Config) -> BaseDetector:
    """The detector of a config, on the CPU with the weights of construction; ``cfg`` is the config.

    Raises:
        ConfigError: the config has no model, or one that cannot be built.
    """
    register_all_modules()
    if 'model' not in config:
        raise ConfigError('the config has no model', file=config.filename, field='model')
    model_cfg = ConfigDict(_without_pretrained(config.model))
    forbid_network(model_cfg)
    model = MODELS.build(model_cfg)
    model.cfg = config
    return model


def load_weights(
    model: BaseDetector,
    content: dict | None,
    config: Config,
    palette: str | Sequence[Sequence[int]] = 'none',
    *,
    checkpoint_name: object = 'the checkpoint',
    trust_checkpoint: bool = False,
    random_weights: bool = True,
) -> None:
    """Put weights into a detector, and set its ``dataset_meta``; see :func:`init_detector`.

    ``content`` is what :func:`~mmdet.engine.checkpoint.reading.load_checkpoint_file` gave, or None without a checkpoint.
    """
    meta: dict | None = None
    if content is None:
        if not random_weights:
            require_weights(model, config)
        if random := parts_without_weights(model, config.model):
            message = f'no checkpoint given: the weights of {" and ".join(random)} and the predictions are random'
            print_log(message, logger='current', level=30)
        if isinstance(model, CompositeDetector):
            meta = load_parts(model, config.model, trust_checkpoint)
        elif _has_published(model):
            meta = _load_published(model)
    else:
        report = load_into(model, content['state_dict'], complete=True)
        if report.unexpected:
            lines = [f'{checkpoint_name} holds more than the model:', *report.lines()]
            print_log('\n  '.join(lines), logger='current', level=30)
        meta = content.get('meta')
        for note in match_stages(model, meta or {}):
            print_log(note, logger='current', level=30)
    head = getattr(model, 'bbox_head', None)  # of a model of the user's own that is no BaseDetector
    num_classes = getattr(model, 'num_classes', getattr(head, 'num_classes', None))
    model.dataset_meta = _dataset_meta(meta or {}, config, num_classes)
    colors = _palette_colors(palette, len(model.dataset_meta['classes']))
    if colors is not None:
        model.dataset_meta['palette'] = colors


def read_config(config: str | Path | Config, cfg_options: dict | None = None) -> Config:
    """The Config of a file, or a copy of a Config, with overrides merged in.

    Raises:
        ConfigError: the file cannot be read; for an argument of another type it is also a TypeError.
    """
    if isinstance(config, (str, os.PathLike)):
        return load_config(os.fspath(config), cfg_options)
    if not isinstance(config, Config):
        raise ConfigTypeError('config must be a path or a Config', received=type(config).__name__)
    config = copy.deepcopy(config)
    if cfg_options:
        config.merge_from_dict(cfg_options)
    return config


def choose_device(device: str | torch.device | None, backend: str | None = None) -> torch.device:
    """The named device, or the first GPU, or the CPU where there is none or the backend runs there only.

    Raises:
        ConfigError: an unknown name, or a GPU that is not visible here.
    """
    if device is None:
        of_cpu = backend is not None and BackendSpec.read(backend).library == 'openvino'
        return torch.device('cuda:0' if torch.cuda.is_available() and not of_cpu else 'cpu')
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError("device must be like 'cpu' or 'cuda:0'", field='device', received=device) from error
    if chosen.type == 'cuda' and (chosen.index or 0) >= torch.cuda.device_count():
        message = f"only {torch.cuda.device_count()} GPUs are visible; use 'cpu' or leave device out"
        raise ConfigError(message, field='device', received=device)
    return chosen


def _without_pretrained(node: Any) -> Any:
    """A copy of a config without pretrained weights: they would be downloaded and then overwritten by the checkpoint's."""
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
    """Class names and palette from the checkpoint, else from the config's dataset, else COCO's for a model of 80, else numbered classes."""
    found = checkpoint_meta.get('dataset_meta') or {}
    found = {key.lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
    if 'classes' not in found and checkpoint_meta.get('CLASSES'):
        found = {'classes': checkpoint_meta['CLASSES'], 'palette': checkpoint_meta.get('PALETTE')}
    elif found.get('classes'):
        _tell_differences(class_names(found) or (), config)
    if not found.get('classes'):
        found = _config_dataset_meta(config)
    if not found.get('classes') and num_classes == 80:
        found = DATASETS.get('CocoDataset').METAINFO
    classes = found.get('classes') or ()
    classes = (classes,) if isinstance(classes, str) else tuple(str(name) for name in classes)
    if num_classes is not None and len(classes) != num_classes:
        if classes:
            message = (
                f'{len(classes)} class names for a model of {num_classes} classes: the classes are numbered instead'
            )
            print_log(message, logger='current', level=30)
        return {'classes': tuple(f'class {k}' for k in range(num_classes))}
    return {**{key: value for key, value in found.items() if value is not None}, 'classes': classes}


def _tell_differences(trained: tuple[str, ...], config: Config) -> None:
    """Say where the config names other classes than the checkpoint, whose names the predictions have."""
    try:
        names = class_names(_config_dataset_meta(config))
    except MMDetError:  # the data set is not used, and may be on another machine
        return
    if names is not None and names != trained:
        message = f'The config names the classes {shown(names)}, the checkpoint {shown(trained)}: predictions have those of the checkpoint'
        print_log(message, logger='current')


def _config_dataset_meta(config: Config) -> dict:
    """Metainfo of the config's test dataset, without reading its annotations."""
    dataset = inner_test_dataset(config)
    dataset_type = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
    if dataset_type is None:
        return {}
    meta = dataset_type._load_metainfo(dataset.get('metainfo') or {})
    return {key.lower(): value for key, value in meta.items()}


def _palette_colors(palette: str | Sequence[Sequence[int]], count: int) -> list[RGB] | None:
    """The colours of a palette for ``count`` classes; None for 'none'."""
    if not isinstance(palette, str):
        return [as_rgb(color) for color in palette]
    if palette == 'none':
        return None
    if palette == 'random':
        return [as_rgb(color) for color in np.random.RandomState(42).randint(0, 256, (count, 3))]
    if palette == 'coco':
        return list(DATASETS.get('CocoDataset').METAINFO['palette'])
    if palette == 'voc':
        return [_voc_color(index + 1) for index in range(count)]
    raise ConfigError(f'palette must be one of {PALETTES} or a list of RGB tuples', field='palette', received=palette)


def _voc_color(index: int) -> RGB:
    """Pascal VOC's colour map: the lowest three bits of the index are the highest bits of red, green and blue, and so on."""
    return as_rgb([sum(((index >> (3 * k + channel)) & 1) << (7 - k) for k in range(8)) for channel in range(3)])


def find_config_beside(checkpoint: str | Path) -> Path:
    """The config that a training run left in the folder of its checkpoint.

    It is the only ``*.py`` of the folder or, where there is none, the newest ``*/vis_data/config.py``. A config stored inside the
    checkpoint is never used.

    Raises:
        CheckpointError: the checkpoint is missing, or no single config lies beside it.
    """
    checkpoint = Path(checkpoint)
    if not checkpoint.is_file():
        raise CheckpointError('no such checkpoint file', file=checkpoint)
    folder = checkpoint.parent
    candidates = sorted(folder.glob('*.py')) or sorted(folder.glob('*/vis_data/config.py'))[-1:]
    if len(candidates) != 1:
        seen = f'{len(candidates)} configs' if candidates else 'no config'
        message = f'{seen} beside the checkpoint, so its model is unknown; pass model=<config file>, weights=<this checkpoint>'
        raise CheckpointError(message, file=checkpoint, received=[path.name for path in candidates])
    return candidates[0]


def config_of_checkpoint(
    model: str | Path, weights: str | None = None, *, trust_checkpoint: bool = False
) -> Path | None:
    """The config of a checkpoint that a user named as the model; None where the name is not that of a checkpoint file.

    Args:
        model: what the user named.
        weights: named beside it; must be None where ``model`` is a checkpoint.
        trust_checkpoint: take the config even if it is a program: the user named the checkpoint, not this file.

    Raises:
        ConfigError: weights beside a checkpoint, or a config that is a program.
        CheckpointError: the checkpoint is missing, or no single config lies beside it.
    """
    if not str(model).lower().endswith(CHECKPOINT_SUFFIXES):
        return None
    if weights is not None:
        message = 'is a checkpoint already; name a config where the weights are given as well'
        raise ConfigError(message, field='model', received=str(model))
    config = find_config_beside(model)
    if not trust_checkpoint:
        require_data(config)
    return config


def _has_published(detector: Any) -> bool:
    """Whether the config of a detector names published weights of all of it, which count where no checkpoint is given."""
    return isinstance(detector, TransformersDetector) and detector.published is not None


def _load_published(detector: Any) -> dict:
    """Load these weights; returns ``meta`` with the names that the classes have there."""
    detector.init_weights()
    return dict(dataset_meta=dict(classes=detector.published_classes))


def load_parts(model: CompositeDetector, model_cfg: dict, trust_checkpoint: bool = False) -> dict | None:
    """Load the checkpoints that the config of a composite detector names in ``<stage>.detector.init_cfg``.

    Returns ``meta`` of the checkpoint loaded last; None if the config names none. ``trust_checkpoint`` allows to unpickle arbitrary
    objects: only for files of your own.

    Raises:
        CheckpointError: a file is missing or does not fit.
    """
    meta = None
    names: dict[str, Any] = {}
    for name, (part, checkpoint) in _parts(model, model_cfg).items():
        if checkpoint is None:
            if _has_published(part.detector):
                meta = _load_published(part.detector)
            continue
        try:
            content = load_checkpoint_file(checkpoint, trust=trust_checkpoint)
            load_into(part.detector, content['state_dict'], complete=True)
        except CheckpointError as error:
            hint = f'model.{name}.detector.init_cfg.checkpoint; or give one checkpoint of the whole model'
            raise CheckpointError(f'{error} ({hint})') from error
        meta = content['meta']
        names[name] = class_names(meta)
    if len(names) > 1 and all(names.values()):
        for note in match_stages(model, dict(stage_classes=names)):
            print_log(note, logger='current', level=30)
    return meta


def _parts(model: CompositeDetector, model_cfg: dict) -> dict[str, tuple[DetectionStage, str | None]]:
    """The stages of a composite detector by name, each with the checkpoint that its config names, if any."""
    found: dict[str, tuple[DetectionStage, str | None]] = {}
    for name, part in model.named_children():
        if isinstance(part, DetectionStage):
            init = (model_cfg.get(name, {}).get('detector') or {}).get('init_cfg')
            found[name] = part, None
            if isinstance(init, dict) and init.get('type') == 'Pretrained':
                found[name] = part, init['checkpoint']
    return found


def parts_without_weights(model: BaseDetector, model_cfg: dict) -> list[str]:
    """What of a model keeps random weights where no checkpoint is given: the stages of a composite detector for which its config names none, or all."""
    if not isinstance(model, CompositeDetector):
        return [] if _has_published(model) else ['model']
    parts = _parts(model, model_cfg)
    loaded = [part.detector for part, found in parts.values() if found is not None or _has_published(part.detector)]
    return [f'model.{name}' for name, (part, _) in parts.items() if all(part.detector is not one for one in loaded)]


def require_weights(model: BaseDetector, config: Config) -> None:
    """Refuse a model of which a part would keep random weights, as no checkpoint is given.

    Raises:
        ConfigError: there is such a part; the message names it, and the option ``--random-weights`` of the commands.
    """
    if random := parts_without_weights(model, config.model):
        message = f'the weights of {" and ".join(random)} would be random: give a checkpoint, or ask for them by --random-weights'
        raise ConfigError(message, file=config.filename, field='checkpoint')
