"""What a test costs an image: pixels through the network, and CPU time."""

import time
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from torch import nn
from torch.utils.hooks import RemovableHandle

from ...models.inference import networks_of
from ...registry import HOOKS


@HOOKS.register_module()
class CostHook(Hook):
    """Add ``cost/megapixels`` and ``cost/cpu_seconds``, means over the images of a test, to its metrics.

    The pixels are those that enter the backbones: padding, flipped views, tiles and mosaics included, so that detectors that look once, at
    tiles, or twice can be compared. The seconds are CPU time of all threads of the process, from the loaded batch to the boxes; the resizing
    of a test pipeline is not among them, that of a composite detector is.
    """

    priority = 'HIGHEST'  # before the hook that passes the metrics on to the log

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._pixels, self._seconds, self._images, self._start = 0, 0.0, 0, 0.0

    def before_test(self, runner: Runner) -> None:
        """Watch the inputs of every backbone."""
        self._pixels, self._seconds, self._images = 0, 0.0, 0
        # Of a detector whose network another backend computes, the backbone is never called.
        parts = [getattr(network, 'backend_network', None) or network.backbone for network in networks_of(runner.model)]
        backbones = {id(part): part for part in parts}
        self._handles = [part.register_forward_pre_hook(self._count) for part in backbones.values()]

    def _count(self, module: nn.Module, inputs: tuple) -> None:
        self._pixels += inputs[0].shape[0] * inputs[0].shape[-2] * inputs[0].shape[-1]

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None) -> None:
        """Start the clock, at the first batch also the count of pixels: the network may have been tried out before."""
        if batch_idx == 0:
            self._pixels = 0
        self._start = time.process_time()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None, outputs: Any = None
    ) -> None:
        """Stop it."""
        self._seconds += time.process_time() - self._start
        self._images += len(outputs or ())

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the means of all processes to the metrics."""
        totals = torch.tensor([self._pixels / 1e6, self._seconds, self._images], dtype=torch.float64)
        all_reduce(totals, op='sum')
        megapixels, seconds, images = totals.tolist()
        if metrics is not None and images:
            metrics.update({'cost/megapixels': megapixels / images, 'cost/cpu_seconds': seconds / images})

    def after_test(self, runner: Runner) -> None:
        """Leave the model as it was."""
        while self._handles:
            self._handles.pop().remove()
