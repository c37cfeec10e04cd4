"""Running a detector on single images."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from ..config.stages import test_pipeline_config
from ..errors import ConfigError, DataError, MMDetError
from ..formats.images import decode_image
from ..registry import TRANSFORMS
from ..structures import DetDataSample
from .building import (  # noqa: F401  (also the former place of what building.py holds)
    PALETTES,
    choose_device,
    find_config_beside,
    init_detector,
    is_composite,
    read_config,
)
from .sources import check_array


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


def _short_type(transform: dict) -> str:
    name = transform['type']
    return name.rpartition('.')[2] if isinstance(name, str) else name.__name__
