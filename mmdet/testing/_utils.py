"""Random images, ground truth and proposals; the configs that the package carries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.errors import ConfigError
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmdet.utils.shipped import shipped_files


def get_detector_cfg(fname: str) -> ConfigDict:
    """The ``model`` of a config, by its path below ``configs``.

    Raises:
        ConfigError: there is no such file.
    """
    if (path := shipped_files() / 'configs' / fname).is_file():
        return Config.fromfile(path).model
    raise ConfigError('not a config of this package', field='fname', received=fname)


def _rand_bboxes(rng: np.random.RandomState, count: int, width: int, height: int) -> np.ndarray:
    """(count, 4) xyxy boxes inside an image, around points anywhere in it."""
    x, y, w, h = rng.rand(count, 4).T
    left, top = ((x * width) - (width * w / 2)).clip(0, width), ((y * height) - (height * h / 2)).clip(0, height)
    right, bottom = ((x * width) + (width * w / 2)).clip(0, width), ((y * height) + (height * h / 2)).clip(0, height)
    return np.vstack([left, top, right, bottom]).T


def demo_mm_inputs(
    batch_size: int = 2,
    image_shapes: Sequence = (3, 128, 128),
    num_items: Sequence[int] | None = None,
    num_classes: int = 10,
    sem_seg_output_strides: int = 1,
    with_mask: bool = False,
    with_semantic: bool = False,
    use_box_type: bool = False,
    device: str = 'cpu',
) -> dict[str, list]:
    """A batch of noise with ground truth and ignored boxes, the same in every call.

    Args:
        batch_size: number of images.
        image_shapes: (C, H, W), or one for each image.
        num_items: objects in each image; 1 to 9 by default.
        num_classes: labels lie in [1, num_classes).
        sem_seg_output_strides: not used.
        with_mask: add bitmaps.
        with_semantic: must be False; there are no maps of classes.
        use_box_type: boxes are ``HorizontalBoxes``, otherwise tensors.
        device: where the tensors lie.

    Returns:
        ``inputs``: images, uint8 (C, H, W); ``data_samples``: their samples.

    Raises:
        ConfigError: ``with_semantic``.
    """
    if with_semantic:
        raise ConfigError('maps of classes are not there; must be False', field='with_semantic', received=with_semantic)
    rng = np.random.RandomState(0)
    shapes = [image_shapes] * batch_size if isinstance(image_shapes[0], int) else list(image_shapes)
    inputs, samples = [], []
    for index, shape in enumerate(shapes):
        height, width = shape[1:]
        image = rng.randint(0, 255, size=shape, dtype=np.uint8)
        inputs.append(torch.from_numpy(image).to(device))
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_shape=(height, width),
                ori_shape=(height, width),
                filename='<demo>.png',
                scale_factor=np.array([1.1, 1.2]),
                flip=False,
                flip_direction=None,
                border=[1, 1, 1, 1],
            )
        )
        count = rng.randint(1, 10) if num_items is None else num_items[index]
        truth: Any = InstanceData()
        truth.bboxes = _as_boxes(_rand_bboxes(rng, count, width, height), use_box_type, device)
        truth.labels = torch.tensor(rng.randint(1, num_classes, size=count), dtype=torch.long, device=device)
        if with_mask:
            bitmaps = rng.randint(0, 2, (count, height, width), dtype=np.uint8)
            truth.masks = BitmapMasks(bitmaps, height, width)
        sample.gt_instances = truth
        ignored: Any = InstanceData()
        ignored.bboxes = _as_boxes(_rand_bboxes(rng, count, width, height), use_box_type, device)
        sample.ignored_instances = ignored
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _as_boxes(bboxes: np.ndarray, use_box_type: bool, device: str) -> Tensor | HorizontalBoxes:
    tensor = torch.tensor(bboxes, dtype=torch.float32, device=device)
    return HorizontalBoxes(tensor) if use_box_type else tensor


def demo_mm_proposals(image_shapes: Sequence, num_proposals: int, device: str = 'cpu') -> list[InstanceData]:
    """Proposals of images (C, H, W): ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), all 0; the same in every call."""
    rng = np.random.RandomState(0)
    found = []
    for shape in image_shapes:
        bboxes = torch.from_numpy(_rand_bboxes(rng, num_proposals, shape[2], shape[1])).float().to(device)
        scores = torch.from_numpy(rng.rand(num_proposals)).float().to(device)
        labels = torch.zeros(num_proposals, dtype=torch.long, device=device)
        found.append(InstanceData(bboxes=bboxes, scores=scores, labels=labels))
    return found


def random_boxes(num: int = 1, scale: float = 1, rng: np.random.RandomState | int | None = None) -> Tensor:
    """(num, 4) float32 xyxy boxes between random corners in a square of side ``scale``; ``rng`` is a generator, a seed or None."""
    rng = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
    corners = rng.rand(num, 2, 2).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1) * scale
    return torch.from_numpy(boxes.astype(np.float32))
