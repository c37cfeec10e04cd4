"""Running a detector on single images."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from ..config.reading import type_name
from ..config.stages import test_pipeline_config
from ..errors import ConfigError, DataError, MMDetError
from ..formats.images import decode_image
from ..models.detectors import BaseDetector, CompositeDetector
from ..registry import TRANSFORMS
from ..structures import DetDataSample
from .building import PALETTES, choose_device, find_config_beside, init_detector, read_config  # noqa: F401
from .sources import check_array

# An address that the caller gives is read; one in an annotation file needs backend_args in the config.
_HTTP = dict(backend='http')
Image = str | os.PathLike | np.ndarray


def inference_detector(
    model: BaseDetector,
    imgs: Image | list[Image] | tuple[Image, ...],
    test_pipeline: Sequence[dict] | Callable[[dict], dict] | None = None,
) -> DetDataSample | list[DetDataSample]:
    """Run a detector on images, one at a time; returns one data sample, or a list of them for a list.

    The boxes of ``pred_instances`` are in pixels of the original image.

    Args:
        model: the result of :func:`init_detector`.
        imgs: a path, a BGR uint8 array, or a list of these.
        test_pipeline: transform configs, or a composed pipeline; None takes the pipeline of the config's test dataset.

    Raises:
        DataError: an image cannot be read.
    """
    pipeline = ImagePipeline(test_pipeline or test_pipeline_config(model.cfg))
    images = list(imgs) if isinstance(imgs, list | tuple) else [imgs]
    samples = [predict_batch(model, [pipeline(image)[0]])[0] for image in images]
    return samples if isinstance(imgs, list | tuple) else samples[0]


class ImagePipeline:
    """A test pipeline that takes paths, addresses (``http(s)://``) and arrays alike; several threads may call it at once.

    ``transforms`` are transform configs, of which those that load annotations are left out, or a composed pipeline.

    Raises:
        ConfigError: the pipeline does not start by loading an image.
    """

    def __init__(self, transforms: Sequence[dict] | Callable[[dict], dict]):
        self._composed = transforms if callable(transforms) else None
        if callable(transforms):
            return
        steps = [dict(step) for step in transforms if type_name(step) != 'LoadAnnotations']
        if not steps or not type_name(steps[0]).startswith('LoadImage'):
            message = 'a test pipeline must start with LoadImageFromFile'
            raise ConfigError(message, field='test_pipeline', received=steps[:1])
        options = {key: value for key, value in steps[0].items() if key in ('to_float32', 'color_type')}
        self._load_file = TRANSFORMS.build({**steps[0], 'type': 'LoadImageFromFile'})
        given = {} if steps[0].get('backend_args') or steps[0].get('file_client_args') else dict(backend_args=_HTTP)
        self._load_address = TRANSFORMS.build({**steps[0], **given, 'type': 'LoadImageFromFile'})
        self._load_array = TRANSFORMS.build({**options, 'type': 'LoadImageFromNDArray'})
        self._steps = [TRANSFORMS.build(step) for step in steps[1:]]

    def __call__(self, image: Image, img_id: int = 0) -> tuple[dict, np.ndarray]:
        """Load and transform one image.

        Returns:
            The packed sample (``inputs``, ``data_samples``), and the loaded image, (H, W, 3) BGR or as ``color_type`` says.

        Raises:
            DataError: the image cannot be read or transformed; the message names it.
        """
        results: dict = {'img_id': img_id}
        if isinstance(image, np.ndarray):
            results['img'] = check_array(image)
        else:
            results['img_path'] = os.fspath(image)
        if self._composed is not None:
            original = (
                image
                if isinstance(image, np.ndarray)
                else decode_image(image, backend_args=_HTTP if _is_address(image) else None)
            )
            return self._composed(results), original
        try:
            load = (
                self._load_array if 'img' in results else self._load_address if _is_address(image) else self._load_file
            )
            results = load(results)
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


def _is_address(image: Image) -> bool:
    return isinstance(image, str) and image.startswith(('http://', 'https://'))


def is_composite(model: torch.nn.Module) -> bool:
    """Whether a model is a composite detector, such as UFPMPDet."""
    return isinstance(model, CompositeDetector)


@torch.no_grad()
def predict_batch(model: BaseDetector, batch: list[dict]) -> list[DetDataSample]:
    """Predictions for packed samples, in their order; those of one sample do not depend on the others.

    Samples of different padded sizes run in separate calls: more zeros beside a smaller image would change the features at its border, and
    with them its predictions. A composite detector processes each image separately anyway.
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
