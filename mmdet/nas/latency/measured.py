"""``MeasuredLatency``: the latency of a network, measured by running it on this machine."""

import time
from typing import Any

import torch

from mmdet.registry import MODELS, NAS_LATENCIES
from mmdet.utils.timing import synchronise

from ...archs import BlockMemo, Structure, is_3d, stage_ends, structure_to_dicts
from ...errors import ConfigError
from ..checks import check_integers


@NAS_LATENCIES.register_module('MeasuredLatency')
class MeasuredLatency:
    """Seconds per image of a structure's backbone with random weights, in evaluation mode, without gradients: the median of several runs.

    Every candidate is built and run, which takes milliseconds to seconds where an operator library takes microseconds. Times vary from run to run,
    so such a search is not reproducible. Each structure is measured once.

    Args:
        batch_size: images per batch.
        image_size: side of the input in pixels.
        device: torch device.
        dtype: 'float32', 'float16' or 'bfloat16'.
        warmup: runs before the clock starts.
        repeats: timed runs.

    Raises:
        ConfigError: an impossible argument.
    """

    def __init__(
        self,
        *,
        batch_size: int = 1,
        image_size: int = 224,
        device: str = 'cpu',
        dtype: str = 'float32',
        warmup: int = 2,
        repeats: int = 5,
    ):
        check_integers('latency.', batch_size=batch_size, image_size=image_size, repeats=repeats)
        check_integers('latency.', least=0, warmup=warmup)
        if dtype not in ('float32', 'float16', 'bfloat16'):
            raise ConfigError("must be 'float32', 'float16' or 'bfloat16'", field='latency.dtype', received=dtype)
        self.batch_size, self.image_size, self.device, self.dtype = batch_size, image_size, device, dtype
        self.warmup, self.repeats = warmup, repeats
        self._known = BlockMemo(self.measure)

    def __call__(self, structure: Structure) -> float:
        return self._known[structure]

    def measure(self, structure: Structure) -> float:
        """Build a network and time it: seconds per image, the median over ``repeats`` runs."""
        options: dict[str, Any] = dict(device=self.device, dtype=getattr(torch, self.dtype))
        blocks, last = structure_to_dicts(structure), len(stage_ends(structure)) - 1
        backbone = dict(type='TinyNASBackbone', structure=blocks, out_indices=(last,), use_focus=False)
        network = MODELS.build(backbone).to(**options).eval()
        x = torch.randn(self.batch_size, structure[0].in_channels, self.image_size, self.image_size, **options)
        times = []
        with torch.no_grad():
            for _ in range(self.warmup + self.repeats):
                synchronise(self.device)
                began = time.perf_counter()
                network(x)
                synchronise(self.device)
                times.append(time.perf_counter() - began)
        times = sorted(times[self.warmup :])
        return times[len(times) // 2] / self.batch_size

    def check(self, structure: Structure) -> None:
        """Check a structure by measuring it.

        Raises:
            ConfigError: it cannot be built or run on the device.
        """
        if is_3d(structure):
            raise ConfigError('measures image networks; video networks need an OpPredictor', field='latency')
        try:
            self(structure)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            message = f'the initial structure cannot be run on {self.device}: {error}'
            raise ConfigError(message, field='latency') from error
