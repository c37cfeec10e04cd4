"""Pictures of the samples that a dataset's pipeline passes to the model."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from ..datasets import SeededIndex
from ..errors import ConfigError, DataError
from ..utils.outputs import OutputNames, refuse_inputs, source_of
from ..visualization import draw_boxes
from .predictions import first_with


def browse(
    dataset: BaseDataset, num: int | None = None, *, seed: int = 0, out_dir: str | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw samples after the pipeline with their boxes; ignored regions are dashed.

    A test pipeline loads the annotations after resizing the image. Their boxes are then in pixels of the original image, and
    are scaled to the picture.

    Args:
        dataset: gives ``dict(inputs, data_samples)``.
        num: number of samples to draw, at most all; None draws all.
        seed: seed of the augmentation; the same seed draws the same pictures.
        out_dir: folder that the pictures are to be written to: names that belong to other images there get a number.

    Yields:
        A file name (number and name of the image file, ``.jpg``) and the picture, (H, W, 3) RGB uint8.

    Raises:
        DataError: a sample is not one that ``PackDetInputs`` makes, or an image is broken.
        ConfigError: ``num`` is not positive, or ``out_dir`` is the folder of an image.
    """
    names = OutputNames(out_dir)
    if num is not None and num < 1:
        raise ConfigError('must be positive', field='--num', received=num)
    late = _annotations_after_resize(dataset)
    count = len(dataset) if num is None else min(num, len(dataset))
    for index in range(count):
        sample = dataset[SeededIndex(index, seed + index)]
        if not isinstance(sample, dict) or 'inputs' not in sample or 'data_samples' not in sample:
            raise DataError('the pipeline must end with PackDetInputs', record=f'sample {index}')
        path = str(sample['data_samples'].metainfo.get('img_path') or 'sample')
        refuse_inputs([out_dir], [Path(path).parent], field='--output-dir')
        (name,) = names.claim([(source_of(path), f'{index:05d}_{Path(path).stem}', ['{}.jpg'])])
        yield f'{name}.jpg', draw_sample(sample, dataset.metainfo, original_boxes=late)


def draw_sample(sample: dict, metainfo: dict, *, original_boxes: bool = False) -> np.ndarray:
    """A picture of one packed sample, (H, W, 3) RGB uint8.

    Args:
        sample: ``inputs`` (3, h, w) uint8 BGR, ``data_samples``.
        metainfo: ``classes`` and ``palette`` of the dataset.
        original_boxes: the boxes are in pixels of the original image, not of ``inputs``.
    """
    inputs = sample['inputs']
    if inputs.dim() != 3 or inputs.shape[0] != 3:
        raise DataError('must have shape (3, h, w)', field='inputs', received=tuple(inputs.shape))
    image = inputs.numpy()[::-1].transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
    packed = sample['data_samples']
    boxes, labels, ignored = np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros((0, 4))
    if 'bboxes' in packed.gt_instances:
        boxes, labels = packed.gt_instances.bboxes.numpy(), packed.gt_instances.labels.numpy()
        ignored = packed.ignored_instances.bboxes.numpy()
    if original_boxes:
        scale = np.tile(np.asarray(packed.metainfo.get('scale_factor', (1.0, 1.0)), np.float64), 2)
        boxes, ignored = boxes * scale, ignored * scale
    return draw_boxes(
        image, boxes, labels, classes=metainfo.get('classes'), colors=metainfo.get('palette'), ignored=ignored
    )


def _annotations_after_resize(dataset: Any) -> bool:
    """Whether the pipeline of a dataset, or of the first one inside wrappers, loads annotations after a resize."""
    pipeline = getattr(first_with(dataset, 'pipeline'), 'pipeline', None)
    steps = [type(step).__name__ for step in getattr(pipeline, 'transforms', ())]
    if 'LoadAnnotations' not in steps:
        return False
    return any('Resize' in step for step in steps[: steps.index('LoadAnnotations')])


def has_display() -> bool:
    """Whether a window can be opened; without a display OpenCV would end the process."""
    return sys.platform in ('win32', 'darwin') or bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))
