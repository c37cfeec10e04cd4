"""Composite detectors: several passes over full-resolution images by other detectors, one result."""

import contextlib
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.errors import CheckpointError, ModelInputError
from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmdet.utils.timing import synchronise

from .base import BaseDetector


@MODELS.register_module()
class FullResolutionPreprocessor(BaseDataPreprocessor):
    """Moves images to the device, unchanged; the stages resize and normalise. ``non_blocking`` makes the copies asynchronous."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs``: a list of (3, h, w) images on the device; ``data_samples`` as they are."""
        inputs = [image.to(self.device, non_blocking=self._non_blocking) for image in data['inputs']]
        for image in inputs:
            if image.dim() != 3 or image.size(0) != 3:
                raise ModelInputError('images must be (3, h, w)', field='inputs', received=tuple(image.shape))
        return dict(inputs=inputs, data_samples=data.get('data_samples'))


class CompositeDetector(BaseDetector):
    """Base of the composite detectors. Unless they consist of a single one they only predict, and their detectors are trained with own configs.

    While ``record_times`` is on, ``stage_times`` collects the seconds of each stage, with the device synchronised at every boundary,
    and ``stage_sizes`` collects sizes that the cost of a stage depends on, such as numbers of regions.
    """

    # Beginning of the names in the state dict of a detector that all stages share; None where they have their own.
    only_detector: str | None = None

    def __init__(self, data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        super().__init__(data_preprocessor or dict(type='FullResolutionPreprocessor'), init_cfg)
        self.record_times = False
        self.stage_times: dict[str, list[float]] = defaultdict(list)
        self.stage_sizes: dict[str, list[float]] = defaultdict(list)

    @abstractmethod
    def detect(self, images: list[Tensor]) -> list[InstanceData]:
        """Detections of (3, h, w) uint8 images, in their own pixels."""

    @abstractmethod
    def stage_passes(self, size_hw: tuple[int, int]) -> dict[str, tuple[BaseDetector, list[tuple[int, int]]]]:
        """By name of a stage its detector, and height and width of everything that it sees of an image: what the cost is counted by."""

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of a ``with`` block to ``stage_times``."""
        if not self.record_times:
            yield
            return
        device = next(self.parameters()).device
        synchronise(device)
        start = time.perf_counter()
        yield
        synchronise(device)
        self.stage_times[stage].append(time.perf_counter() - start)

    def note(self, **sizes: float) -> None:
        """Add to ``stage_sizes``."""
        if self.record_times:
            for name, size in sizes.items():
                self.stage_sizes[name].append(size)

    def loss(self, batch_inputs: list[Tensor], batch_data_samples: SampleList) -> Losses:
        """Raises ModelInputError, which says what to train instead."""
        name = type(self).__name__
        raise ModelInputError(f'{name} is not trained as a whole: train its stages with their own configs')

    @torch.no_grad()
    def predict(self, batch_inputs: list[Tensor], batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances`` in pixels of the original image.

        Raises:
            ModelInputError: an image that the pipeline resized: the stages need full resolution.
        """
        for image, sample in zip(batch_inputs, batch_data_samples):
            received = tuple(image.shape[-2:])
            original = tuple(sample.metainfo.get('ori_shape', received)[:2])
            if original != received:
                message = f'needs images in full resolution, {original}: the test pipeline must not resize'
                raise ModelInputError(
                    message, record=sample.metainfo.get('img_path'), field='inputs', received=received
                )
        return self.add_pred_to_datasample(batch_data_samples, self.detect(list(batch_inputs)))

    def _forward(self, batch_inputs: list[Tensor], batch_data_samples: OptSampleList = None) -> list[InstanceData]:
        return self.detect(list(batch_inputs))

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Where all stages share one detector, read the checkpoint of that detector itself, in place.

        Raises:
            CheckpointError: the checkpoint has two detectors, so that half of what was trained would be left out.
        """
        if self.only_detector is None:
            return []
        own = f'{prefix}{self.only_detector}'
        if any(name.startswith(f'{prefix}fine.detector.') for name in state_dict):
            message = 'has a detector for each stage, but the stages of the model share one: give the checkpoint of one'
            raise CheckpointError(message, field='fine.detector')
        # A backbone alone is no detector.
        shared = ('backbone.', 'neck.')
        names = self.get_submodule(self.only_detector.rstrip('.')).state_dict().keys()
        heads = {f'{prefix}{name}' for name in names if not name.startswith(shared)}
        if any(name.startswith(own) for name in state_dict) or not heads.intersection(state_dict):
            return []
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[own + name[len(prefix) :]] = state_dict.pop(name)
        return ['the checkpoint is that of the detector which the stages share']
