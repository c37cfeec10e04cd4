"""From uint8 images of any size to one normalised batch on the model's device.

Naming: B images, C channels, (H, W) of the batch: the largest image, rounded up to the divisor.
"""

import math

import cv2
import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor

from mmdet.errors import ModelInputError
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.registry import MODELS
from mmdet.structures import SampleList

from .batch_augments import BatchFixedSizePad, BatchResize, BatchSyncRandomResize  # noqa: F401  (mmdetection has them here)


@MODELS.register_module()
class DetDataPreprocessor(BaseDataPreprocessor):
    """Moves images to the device, normalises and pads them, and makes one batch of them.

    Images are moved as uint8, a quarter of the bytes of float32; each is normalised directly into its place in the batch.

    Args:
        mean: 1 or 3 values, in the order of the channels after the swap; given together with ``std``, or not at all.
        std: 1 or 3 values.
        pad_size_divisor: the batch's sides are multiples of it.
        pad_value: value of the padding, in normalised units.
        bgr_to_rgb: swap the first and last channel of BGR images.
        rgb_to_bgr: the same swap for RGB images.
        pad_mask, mask_pad_value: pad ``gt_instances.masks`` to the batch's size with this value.
        pad_seg, seg_pad_value: the same for ``gt_sem_seg.sem_seg``.
        boxtype2tensor: boxes that are objects (``HorizontalBoxes``) become tensors here. The toolbox's heads expect that.
        non_blocking: asynchronous copies to the device.
        batch_augments: configs of modules called as ``(inputs, data_samples)`` on the training batch.
        channels_last: lay the batch out channels last; convolutions keep that layout through the network, which is a fifth faster on
            CPUs with AVX-512 and with half precision on GPUs. None: only for training in bfloat16 on CPUs with AMX, which it makes two to three
            times as fast, see :class:`~mmdet.engine.AmpOptimWrapper`.
    """

    def __init__(
        self,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        boxtype2tensor: bool = True,
        non_blocking: bool = False,
        batch_augments: list[dict] | None = None,
        channels_last: bool | None = None,
    ):
        super().__init__(non_blocking)
        assert not (bgr_to_rgb and rgb_to_bgr), 'bgr_to_rgb and rgb_to_bgr cannot both be set'
        assert (mean is None) == (std is None), 'mean and std are given together or not at all'
        self.normalises = self._enable_normalize = mean is not None
        if mean is not None and std is not None:
            wrong = f'mean and std need 1 or 3 values. Received: {mean}, {std}'
            assert len(mean) == len(std) and len(mean) in (1, 3), wrong
            for name, values in (('mean', mean), ('std', std)):
                # Not in the checkpoint: they belong to the config.
                self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.swaps_channels = self._channel_conversion = bgr_to_rgb or rgb_to_bgr
        self.pad_mask, self.mask_pad_value = pad_mask, mask_pad_value
        self.pad_seg, self.seg_pad_value = pad_seg, seg_pad_value
        self.boxtype2tensor = boxtype2tensor
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value
        self.channels_last = channels_last
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.inference_format: torch.memory_format | None = (
            None  # another layout where nothing trains; see models/inference.py
        )
        self.batch_augments = [MODELS.build(cfg) for cfg in batch_augments or []]

    def forward(self, data: dict, training: bool = False) -> dict:
        """Batch a collated dict.

        Args:
            data: ``inputs``, a list of (C, h, w) images or one (B, C, H, W) tensor; ``data_samples``, a list or None.
            training: whether ``batch_augments`` run.

        Returns:
            ``inputs`` (B, C, H, W) float32 and ``data_samples``, whose metainfo gained ``batch_input_shape`` and ``pad_shape``.

        Raises:
            ModelInputError: no image, or images of another number of channels.
        """
        images, samples = data['inputs'], data.get('data_samples')
        if len(images) == 0:
            raise ModelInputError('at least one image is needed', field='inputs', received=images)
        batch = self._batch(images, self.memory_format if training else self.inference_format or self.memory_format)
        if samples is not None:
            samples = self.cast_data(samples)
            for sample, pad_shape in zip(samples, self._get_pad_shape(data)):
                sample.set_metainfo(dict(batch_input_shape=tuple(batch.shape[-2:]), pad_shape=pad_shape))
            if self.boxtype2tensor:
                samplelist_boxtype2tensor(samples)
            if self.pad_mask:
                self.pad_gt_masks(samples)
            if self.pad_seg:
                self.pad_gt_sem_seg(samples)
        if training:
            for augment in self.batch_augments:
                batch, samples = augment(batch, samples)
        return dict(inputs=batch, data_samples=samples)

    def _get_pad_shape(self, data: dict) -> list[tuple[int, int]]:
        """(h, w) of each image of ``data['inputs']``, rounded up to the divisor."""
        return [(self._round_up(image.size(-2)), self._round_up(image.size(-1))) for image in data['inputs']]

    def pad_gt_masks(self, batch_data_samples: SampleList) -> None:
        """Pad the masks of the ground truth, in place, to the ``batch_input_shape`` of their sample."""
        for sample in batch_data_samples:
            if 'masks' in sample.get('gt_instances', ()):
                masks = sample.gt_instances.masks
                sample.gt_instances.masks = masks.pad(sample.batch_input_shape, pad_val=self.mask_pad_value)

    def pad_gt_sem_seg(self, batch_data_samples: SampleList) -> None:
        """Pad the segmentation maps (1, h, w), in place, to the ``batch_input_shape`` of their sample."""
        for sample in batch_data_samples:
            if 'gt_sem_seg' in sample:
                image_map, (height, width) = sample.gt_sem_seg.sem_seg, sample.batch_input_shape
                sides = (0, max(0, width - image_map.size(-1)), 0, max(0, height - image_map.size(-2)))
                sample.gt_sem_seg = PixelData(sem_seg=F.pad(image_map, sides, value=self.seg_pad_value))

    def _round_up(self, size: int) -> int:
        return math.ceil(size / self.pad_size_divisor) * self.pad_size_divisor

    def _batch(self, images: list[Tensor] | Tensor, memory_format: torch.memory_format) -> Tensor:
        for image in images:
            if image.dim() != 3 or (self.normalises and len(self.mean) == 3 and image.size(0) != 3):
                raise ModelInputError('images must be (3, h, w)', field='inputs', received=tuple(image.shape))
        height = self._round_up(max(image.shape[-2] for image in images))
        width = self._round_up(max(image.shape[-1] for image in images))
        shape = (len(images), images[0].size(0), height, width)
        batch = torch.empty(shape, device=self.device, memory_format=memory_format)
        for place, image in zip(batch, images):
            h, w = image.shape[-2:]
            image = image.to(self.device, non_blocking=self._non_blocking)
            place[:, h:] = self.pad_value
            place[:, :h, w:] = self.pad_value
            if self._looks_up(image, place):
                self._look_up(image, place[:, :h, :w])
                continue
            if self.swaps_channels and image.size(0) == 3:
                image = image.flip(0)
            target = place[:, :h, :w]
            if self.normalises:
                torch.sub(image, self.mean, out=target)
                target.div_(self.std)
            else:
                target.copy_(image)
        return batch

    def _looks_up(self, image: Tensor, place: Tensor) -> bool:
        """Whether a table of 256 values serves: on CPUs it takes a half to a quarter of the time of the arithmetic, and gives the same to the last bit."""
        kinds = (image.dtype, place.dtype, image.device.type) == (torch.uint8, torch.float32, 'cpu')
        return self.normalises and kinds and self.mean.dtype == torch.float32 and len(image) == 3 and image.numel() > 0

    def _look_up(self, image: Tensor, target: Tensor) -> None:
        """Normalise an image (3, h, w) uint8 into a part (3, h, w) of the batch, of either layout."""
        levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 256)
        table = ((levels - self.mean) / self.std).expand(3, 1, 256).numpy()
        source, found = image.numpy()[:: -1 if self.swaps_channels else 1], target.numpy()
        if found.strides[2] == found.itemsize:
            for plane, values, normalised in zip(source, table, found):
                cv2.LUT(plane, values, dst=normalised)
        else:
            cv2.LUT(cv2.merge(list(source)), table.transpose(1, 2, 0).copy(), dst=found.transpose(1, 2, 0))
