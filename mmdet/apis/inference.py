"""Running a detector on single images."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate

from ..config.reading import type_name
from ..config.stages import test_pipeline_config
from ..datasets.transforms import InferencerLoader
from ..errors import ConfigError, DataError, MMDetError
from ..formats.pixels import ValueRange, to_uint8
from ..models.detectors import BaseDetector, CompositeDetector
from ..registry import TRANSFORMS
from ..structures import DetDataSample
from .building import PALETTES, choose_device, find_config_beside, init_detector, read_config  # noqa: F401
from .sources import check_array

Image = str | os.PathLike | np.ndarray


def inference_detector(
    model: BaseDetector,
    imgs: Image | list[Image] | tuple[Image, ...],
    test_pipeline: Sequence[dict] | Callable[[dict], dict] | None = None,
    text_prompt: str | None = None,
    custom_entities: bool = False,
) -> DetDataSample | list[DetDataSample]:
    """Run a detector on images, one at a time; returns one data sample, or a list of them for a list.

    The boxes of ``pred_instances`` are in pixels of the original image.

    Args:
        model: the result of :func:`init_detector`.
        imgs: a path, a BGR uint8 array, or a list of these.
        test_pipeline: transform configs, or a composed pipeline; None takes the pipeline of the config's test dataset.
        text_prompt, custom_entities: accepted for callers of mmdetection; there are no detectors that read text.

    Raises:
        DataError: an image cannot be read.
        ConfigError: a text prompt.
    """
    if text_prompt is not None:
        raise ConfigError('detectors that read text are not supported', field='text_prompt', received=text_prompt)
    pipeline = ImagePipeline(test_pipeline or test_pipeline_config(model.cfg))
    images = list(imgs) if isinstance(imgs, list | tuple) else [imgs]
    samples = [predict_batch(model, [pipeline.load(image)[0]])[0] for image in images]
    return samples if isinstance(imgs, list | tuple) else samples[0]


async def async_inference_detector(model: BaseDetector, imgs: Image | list[Image] | tuple[Image, ...]) -> Any:
    """:func:`inference_detector` for coroutines: the event loop stays free while a thread detects."""
    return await asyncio.to_thread(inference_detector, model, imgs)


class ImagePipeline:
    """A test pipeline that takes paths, addresses (``http(s)://``) and arrays alike; several threads may call it at once.

    ``transforms`` are transform configs, of which those that load annotations are left out, or a composed pipeline.

    Raises:
        ConfigError: the pipeline does not start by loading an image.
    """

    def __init__(self, transforms: Sequence[dict] | Callable[[dict], dict]):
        self.composed = transforms if callable(transforms) else compose_for_inputs(transforms)

    def __call__(self, image: Image, img_id: int = 0) -> tuple[dict, np.ndarray]:
        """Load and transform one image.

        Returns:
            The packed sample (``inputs``, ``data_samples``), and the loaded image, (H, W, 3) BGR or as ``color_type`` says.

        Raises:
            DataError: the image cannot be read or transformed; the message names it.
        """
        packed, original = self.load(image, img_id)
        return packed, load_original(image, loader_range(self.composed)) if original is None else original

    def load(self, image: Image, img_id: int = 0) -> tuple[dict, np.ndarray | None]:
        """As a call, but with None for the loaded image of a composed pipeline, which does not tell it."""
        if isinstance(image, np.ndarray):
            given: dict[str, Any] = dict(img=check_array(image, loader_range(self.composed)))
        else:
            given = dict(img_path=os.fspath(image))
        return run_pipeline(self.composed, {'img_id': img_id, **given})


def loader_range(pipeline: Any) -> ValueRange:
    """How the loader of a composed pipeline makes 0..255 of 16-bit and floating-point images; None where it refuses them."""
    steps = getattr(pipeline, 'transforms', ())
    return getattr(steps[0], 'value_range', None) if steps else None


def compose_for_inputs(transforms: Sequence[dict], value_range: ValueRange = None) -> Compose:
    """The transform configs of a test pipeline, composed so that it starts from a path, an array or a dict of either.

    ``InferencerLoader`` takes the place of the first loader; annotations are not loaded. A ``value_range`` replaces that of the loader.

    Raises:
        ConfigError: the pipeline does not start by loading an image.
    """
    steps = [dict(step) for step in transforms if type_name(step) != 'LoadAnnotations']
    if not steps or not type_name(steps[0]).rpartition('.')[2].startswith(('LoadImage', 'InferencerLoader')):
        message = 'a test pipeline must start with LoadImageFromFile'
        raise ConfigError(message, field='test_pipeline', received=steps[:1])
    loader = {**steps[0], 'type': 'InferencerLoader', **({} if value_range is None else dict(value_range=value_range))}
    return Compose([TRANSFORMS.build(step) for step in [loader, *steps[1:]]])


def run_pipeline(pipeline: Callable, image: Image | dict) -> tuple[dict, np.ndarray | None]:
    """What a pipeline makes of an image, and the image as it was loaded; None where the pipeline does not start with ``InferencerLoader``.

    Raises:
        DataError: the image cannot be read; the message names it.
    """
    name = image.get('img_path') if isinstance(image, dict) else image if isinstance(image, str) else None
    steps = getattr(pipeline, 'transforms', ())
    if not steps or not isinstance(steps[0], InferencerLoader):
        return pipeline(image), None
    try:
        results = steps[0](image)
        if results is None:
            raise DataError('the image could not be decoded', file=name)
        original = results['img']
        for step in steps[1:]:
            results = step(results)
    except MMDetError:
        raise
    except OSError as error:
        raise DataError(f'cannot be read ({error.strerror or error})', file=name) from error
    return results, original


def load_original(image: Image | dict, value_range: ValueRange = None) -> np.ndarray:
    """The pixels of an input for drawing: the array, or the decoded file or address, (H, W, 3) BGR; other than 8-bit ones by the value range."""
    if isinstance(image, np.ndarray):
        return image if value_range is None else to_uint8(image, value_range)
    return InferencerLoader(value_range=value_range or 'minmax')(image)['img']


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
