"""What may be done to a whole training batch, on the device: ``batch_augments`` of :class:`DetDataPreprocessor`.

Each is called with images (B, C, H, W) and their samples, whose boxes, masks and shapes follow. Shapes are (height, width).
"""

import logging
import math
import random

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from mmengine.logging import MessageHub, print_log
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmdet.core.boxes import scale_boxes
from mmdet.errors import ArgumentError
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, OptSampleList, SampleList
from mmdet.utils.checks import is_int

_SIZE_KEY = 'batch_sync_random_resize_hw'  # of the message hub


@MODELS.register_module()
class BatchFixedSizePad(nn.Module):
    """Pads batches to a fixed size, so that all of an epoch cost the same (large-scale jitter).

    The padding counts as image: ``pad_shape`` and ``batch_input_shape`` become the size. A batch that is as large already stays as it is.

    Args:
        size: (height, width).
        img_pad_value: value of the padding, in normalised units.
        pad_mask, mask_pad_value: whether masks are padded too, and by what.
        pad_seg, seg_pad_value: the same for semantic maps.
    """

    def __init__(
        self,
        size: tuple[int, int],
        img_pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
    ):
        super().__init__()
        height, width = size
        self.size, self.img_pad_value = (int(height), int(width)), img_pad_value
        self.pad_mask, self.mask_pad_value = pad_mask, mask_pad_value
        self.pad_seg, self.seg_pad_value = pad_seg, seg_pad_value

    def forward(self, inputs: Tensor, data_samples: OptSampleList = None) -> tuple[Tensor, OptSampleList]:
        """Pad to the right and below."""
        if inputs.size(2) >= self.size[0] and inputs.size(3) >= self.size[1]:
            return inputs, data_samples
        inputs = _padded(inputs, self.size, self.img_pad_value)
        for sample in data_samples or []:
            sample.set_metainfo(dict(batch_input_shape=self.size, pad_shape=self.size))
            if self.pad_mask and 'masks' in sample.gt_instances:
                sample.gt_instances.masks = sample.gt_instances.masks.pad(self.size, pad_val=self.mask_pad_value)
            if self.pad_seg and 'gt_sem_seg' in sample:
                sem_seg = _padded(sample.gt_sem_seg.sem_seg, self.size, self.seg_pad_value)
                sample.gt_sem_seg = PixelData(metainfo=sample.gt_sem_seg.metainfo, sem_seg=sem_seg)
        return inputs, data_samples


@MODELS.register_module()
class BatchBucketPad(nn.Module):
    """Pads batches to the smallest of a few sizes that holds them, so that ``torch.compile`` makes no more graphs than there are sizes.

    The padding is no image: ``pad_shape``, by which priors are valid, stays, and ``batch_input_shape`` becomes the size. A batch that no size holds
    stays as it is, with a warning for the first.

    Args:
        sizes: at least one (height, width), multiples of the preprocessor's divisor.
        img_pad_value: value of the padding, in normalised units.

    Raises:
        ArgumentError: no size, or one that is not two positive whole numbers.
    """

    def __init__(self, sizes: list[tuple[int, int]], img_pad_value: float = 0):
        super().__init__()
        sound = [len(size) == 2 and all(is_int(side, 1) for side in size) for size in sizes]
        if not sound or not all(sound):
            raise ArgumentError('must be a list of (height, width)', field='BatchBucketPad.sizes', received=sizes)
        self.sizes = sorted(((height, width) for height, width in sizes), key=math.prod)
        self.img_pad_value = img_pad_value
        self._warned = False

    def forward(self, inputs: Tensor, data_samples: OptSampleList = None) -> tuple[Tensor, OptSampleList]:
        """Pad to the right and below."""
        height, width = inputs.shape[-2:]
        size = next((size for size in self.sizes if size[0] >= height and size[1] >= width), None)
        if size is None:
            if not self._warned:
                message = (
                    f'No size of BatchBucketPad {self.sizes} holds a batch of {(height, width)}, which keeps its own.'
                )
                print_log(message, logger='current', level=logging.WARNING)
            self._warned = True
            return inputs, data_samples
        for sample in data_samples or []:
            sample.set_metainfo(dict(batch_input_shape=size))
        return _padded(inputs, size, self.img_pad_value), data_samples


@MODELS.register_module()
class BatchSyncRandomResize(nn.Module):
    """Resizes batches to a size that is drawn anew every few iterations, the same in all processes (YOLOX, RT-DETR, D-FINE).

    The first batch keeps its size, and so do those until the first draw; later ones get the size drawn last. It is kept with the
    iteration in mmengine's message hub, hence in checkpoints: a resumed run goes on with it.

    Args:
        random_size_range: (least, greatest) height. The width follows from the shape of the batch.
        interval: iterations between two draws.
        size_divisor: both sides are multiples of it.
        own_size_share: probability, in [0, 1], that a draw is the batch's own size.
        stop_epoch: from this epoch on (counted from 0) batches keep their size; None: never.

    Raises:
        ArgumentError: sizes or a probability out of their range.
    """

    def __init__(
        self,
        random_size_range: tuple[int, int],
        interval: int = 10,
        size_divisor: int = 32,
        own_size_share: float = 0.0,
        stop_epoch: int | None = None,
    ):
        super().__init__()
        least, greatest = random_size_range
        if not 0 < least <= greatest:
            raise ArgumentError(
                'must be two sizes, 0 < least <= greatest', field='random_size_range', received=random_size_range
            )
        if not 0 <= own_size_share <= 1:
            raise ArgumentError('must be in [0, 1]', field='own_size_share', received=own_size_share)
        self.size_divisor, self.interval = size_divisor, interval
        self.own_size_share, self.stop_epoch = own_size_share, stop_epoch
        self._size: tuple[int, int] | None = None
        self.steps = (round(least / size_divisor), round(greatest / size_divisor))

    def forward(self, inputs: Tensor, data_samples: SampleList) -> tuple[Tensor, SampleList]:
        """Resize to the current size, then draw the next one if it is due."""
        hub = MessageHub.get_current_instance()
        if self.stop_epoch is not None and hub.get_info('epoch', 0) >= self.stop_epoch:
            return inputs, data_samples
        iteration, (height, width) = hub.get_info('iter', 0), inputs.shape[-2:]
        if self._size is None:  # at the start of a run, also of a resumed one
            resumed = hub.get_info(_SIZE_KEY) if iteration > 0 else None
            self._size = tuple(resumed or (height, width))
        new_height, new_width = size = self._size
        if size != (height, width):
            inputs = F.interpolate(inputs, size=size, mode='bilinear', align_corners=False)
            for sample in data_samples:
                _resize_sample(sample, new_width / width, new_height / height)
                pad_shape = sample.pad_shape
                scaled = (int(pad_shape[0] * new_height / height), int(pad_shape[1] * new_width / width))
                sample.set_metainfo(dict(pad_shape=scaled, batch_input_shape=size))
        if (iteration + 1) % self.interval == 0:
            self._size = self._draw(height, width, inputs.device)
        hub.update_info(_SIZE_KEY, list(self._size))
        return inputs, data_samples

    def _draw(self, height: int, width: int, device: torch.device) -> tuple[int, int]:
        """Height and width of the next batches; rank 0 draws."""
        if self.own_size_share:
            own = torch.tensor(random.random() < self.own_size_share, device=device)
            broadcast(own, 0)
            if own:
                return height, width
        return self._get_random_size(width / height, device)

    def _get_random_size(self, aspect_ratio: float, device: torch.device) -> tuple[int, int]:
        """A size of the range, for batches of ``aspect_ratio`` (width / height); rank 0 draws."""
        drawn = torch.tensor(random.randint(*self.steps), device=device)
        broadcast(drawn, 0)
        steps = int(drawn)
        return self.size_divisor * steps, self.size_divisor * int(aspect_ratio * steps)


@MODELS.register_module()
class BatchResize(nn.Module):
    """Resizes batches so that the short side gets the lesser of two sizes, unless the long side would exceed the greater one.

    Args:
        scale: both sizes, in either order.
        pad_size_divisor: afterwards, the batch is padded to multiples of it.
        pad_value: value of the padding, in normalised units.
    """

    def __init__(self, scale: tuple[int, int], pad_size_divisor: int = 1, pad_value: float = 0):
        super().__init__()
        self.min_size, self.max_size = min(scale), max(scale)
        self.pad_size_divisor, self.pad_value = pad_size_divisor, pad_value

    def forward(self, inputs: Tensor, data_samples: SampleList) -> tuple[Tensor, SampleList]:
        """Resize and pad. ``scale_factor`` of the samples is that of this resize."""
        height, width, factor = self.get_target_size(*inputs.shape[-2:])
        inputs = F.interpolate(inputs, size=(height, width), mode='bilinear', align_corners=False)
        inputs = self.get_padded_tensor(inputs, self.pad_value)
        shape = tuple(inputs.shape[-2:])
        for sample in data_samples:
            _resize_sample(sample, factor, factor)
            sample.set_metainfo(dict(pad_shape=shape, batch_input_shape=shape, scale_factor=(factor, factor)))
        return inputs, data_samples

    def get_target_size(self, height: int, width: int) -> tuple[int, int, float]:
        """Height and width after the resize, and the factor."""
        factor = min(self.min_size / min(height, width), self.max_size / max(height, width))
        return int(height * factor + 0.5), int(width * factor + 0.5), factor

    def get_padded_tensor(self, tensor: Tensor, pad_value: float) -> Tensor:
        """(..., H, W), padded to multiples of the divisor."""
        height, width = (math.ceil(side / self.pad_size_divisor) * self.pad_size_divisor for side in tensor.shape[-2:])
        return _padded(tensor, (height, width), pad_value)


def _padded(tensor: Tensor, size: tuple[int, int], value: float) -> Tensor:
    """(..., H, W), padded to the right and below; a side that is longer stays."""
    right, below = max(size[1] - tensor.size(-1), 0), max(size[0] - tensor.size(-2), 0)
    return F.pad(tensor, (0, right, 0, below), value=value) if right or below else tensor


def _resize_sample(sample: DetDataSample, x_factor: float, y_factor: float) -> None:
    """Multiply boxes and ``img_shape`` of a sample, which is truncated, and resize its masks."""
    for name in ('gt_instances', 'ignored_instances'):
        instances = sample.get(name)
        if instances is None:
            continue
        if 'bboxes' in instances:
            instances.bboxes = scale_boxes(instances.bboxes, (x_factor, y_factor))
        if 'masks' in instances:
            masks = instances.masks
            instances.masks = masks.resize((round(masks.height * y_factor), round(masks.width * x_factor)))
    height, width = sample.img_shape[:2]
    sample.set_metainfo(dict(img_shape=(int(height * y_factor), int(width * x_factor))))
