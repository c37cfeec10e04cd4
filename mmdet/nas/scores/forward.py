"""Scores that run random networks: Zen-score, and the measured entropy of LightNAS 1.

Both leave out skip paths and squeeze-excitation, so that a network is a chain of its units' convolutions. They take milliseconds to seconds for a
structure, where closed-form scores take microseconds.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmdet.registry import NAS_SCORES

from ...archs import Conv, Structure, is_3d, units_of
from ..checks import check_integers
from .base import Score, StageScore


class RandomChain:
    """The convolutions of a structure, with weights drawn from N(0, std^2).

    Args:
        seed: seed of the weights and inputs, which are the same for the same seed and device.
        device: torch device to run on.
        std: standard deviation of the weights.
    """

    def __init__(self, structure: Structure, *, seed: int, device: str, std: float = 1.0):
        self.units = [unit.convs for block in structure for unit in units_of(block)]
        self.dims = 3 if is_3d(structure) else 2
        self.device, self.std = torch.device(device), std
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def randn(self, *shape: int) -> Tensor:
        """A standard normal tensor."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def inputs(self, batch: int, image_size: int, frames: int) -> Tensor:
        """A standard normal batch, (B, C, H, W) or (B, C, T, H, W)."""
        size = (frames, image_size, image_size)[3 - self.dims :]
        return self.randn(batch, self.units[0][0].in_channels, *size)

    def weights(self, conv: Conv) -> Tensor:
        """New weights of one convolution, (out, in / groups, [kt,] k, k)."""
        taps = (conv.kt, conv.kernel, conv.kernel)[3 - self.dims :]
        return self.std * self.randn(conv.out_channels, conv.fan_in_channels, *taps)

    def run(self, conv: Conv, x: Tensor, weights: Tensor) -> Tensor:
        """Apply one convolution, with a padding that keeps the size at stride 1."""
        if self.dims == 3:
            stride, padding = (1, conv.stride, conv.stride), (conv.kt // 2, conv.kernel // 2, conv.kernel // 2)
            return functional.conv3d(x, weights, None, stride, padding, 1, conv.groups)
        return functional.conv2d(x, weights, None, conv.stride, conv.kernel // 2, 1, conv.groups)


class SampledScore(Score):
    """Base of the scores that are a mean over random networks.

    Args:
        image_size: side of the input in pixels.
        frames: frames of a video network's input.
        batch_size: images per pass.
        repeats: number of random networks to average over.
        seed: seed of the first network; network r has ``seed + r``.
        device: torch device to run on.
        kwargs: arguments of the other base classes.
    """

    def __init__(
        self,
        *,
        image_size: int = 224,
        frames: int = 13,
        batch_size: int,
        repeats: int,
        seed: int = 0,
        device: str = 'cpu',
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integers(image_size=image_size, frames=frames, batch_size=batch_size, repeats=repeats)
        self.image_size, self.frames, self.batch_size, self.repeats = image_size, frames, batch_size, repeats
        self.seed, self.device = seed, device

    def __call__(self, structure: Structure) -> float:
        scores = self.samples(structure)
        return sum(scores) / len(scores)

    def samples(self, structure: Structure) -> list[float]:
        """The score of each of the ``repeats`` random networks; their spread is the score's noise."""
        with torch.no_grad():
            return [self.ratio * self._sample(structure, self.seed + repeat) for repeat in range(self.repeats)]

    def _sample(self, structure: Structure, seed: int) -> float:
        """The score of one random network, without ``ratio``."""
        raise NotImplementedError


@NAS_SCORES.register_module('zen')
class ZenScore(SampledScore):
    """Zen-score (Lin et al., "Zen-NAS", ICCV 2021): how much the features of a random network change with its input.

    Every convolution has N(0, 1) weights and is followed by batch norm in training mode (eps 1e-3, momentum 0.1) and ReLU. With x and n standard
    normal, z is the mean over the batch of the L1 distance of the last feature maps of x and x + gamma * n, and the score is
    ln z + the sum over batch norms of ln sqrt(mean running variance), the variances as those two passes left them.

    Args:
        batch_size: images per pass.
        repeats: number of random networks to average over; usually 32 for scoring, 1 in a search.
        gamma: size of the disturbance.
        kwargs: further arguments of :class:`SampledScore`, and ``ratio``, a factor on the result.
    """

    eps, momentum = 1e-3, 0.1

    def __init__(self, *, batch_size: int = 16, repeats: int = 1, gamma: float = 1e-2, **kwargs: Any):
        super().__init__(batch_size=batch_size, repeats=repeats, **kwargs)
        self.gamma = gamma

    def _sample(self, structure: Structure, seed: int) -> float:
        """Both inputs go through the network layer by layer, so that only one layer's weights are in memory."""
        chain = RandomChain(structure, seed=seed, device=self.device)
        x = chain.inputs(self.batch_size, self.image_size, self.frames)
        disturbed = x + self.gamma * chain.inputs(self.batch_size, self.image_size, self.frames)
        log_scales = 0.0
        for convs in chain.units:
            for conv in convs:
                weights = chain.weights(conv)
                mean, variance = x.new_zeros(conv.out_channels), x.new_ones(conv.out_channels)
                x = self._norm_relu(chain.run(conv, x, weights), mean, variance)
                disturbed = self._norm_relu(chain.run(conv, disturbed, weights), mean, variance)
                log_scales += 0.5 * math.log(variance.mean().item())
        distance = (x - disturbed).abs().flatten(1).sum(1).mean().item()
        return math.log(distance) + log_scales

    def _norm_relu(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Batch norm in training mode, which updates ``mean`` and ``variance`` in place, and ReLU."""
        x = functional.batch_norm(x, mean, variance, training=True, momentum=self.momentum, eps=self.eps)
        return functional.relu_(x)


@NAS_SCORES.register_module('entropy')
class ForwardEntropy(SampledScore, StageScore):
    """The score of LightNAS 1: ``madnas`` measured in forward passes instead of computed.

    Convolutions have N(0, init_std^2) weights, no batch norm and no activation. The standard deviation after each unit is measured and divided out.
    Border pixels, which see fewer inputs, make the score a little smaller than ``madnas``. Bit widths have no effect.

    Args:
        multi_block_ratio: one weight for each stage.
        batch_size: images per pass.
        repeats: number of random networks to average over.
        init_std: standard deviation of the weights.
        init_std_act: standard deviation of the input.
        kwargs: further arguments of :class:`SampledScore`, and ``ratio``, a factor on the result.
    """

    def __init__(
        self,
        *,
        multi_block_ratio: Sequence[float] = (0, 0, 1, 1, 6),
        batch_size: int = 32,
        repeats: int = 4,
        init_std: float = 1.0,
        init_std_act: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(multi_block_ratio=multi_block_ratio, batch_size=batch_size, repeats=repeats, **kwargs)
        self.init_std, self.init_std_act = init_std, init_std_act

    def _sample(self, structure: Structure, seed: int) -> float:
        terms = iter(self.log_stds(structure, seed))
        return self.weighted_stages(
            (block.stride, [next(terms) for _ in range(block.layers)], math.log(block.out_channels))
            for block in structure
        )

    @torch.no_grad()
    def log_stds(self, structure: Structure, seed: int) -> list[float]:
        """For each unit, the logarithm of the standard deviation of its output.

        The input of the first unit has a standard deviation of ``init_std_act``, those of all others of 1.
        """
        chain = RandomChain(structure, seed=seed, device=self.device, std=self.init_std)
        found = []
        x = self.init_std_act * chain.inputs(self.batch_size, self.image_size, self.frames)
        for convs in chain.units:
            for conv in convs:
                x = chain.run(conv, x, chain.weights(conv))
            std = x.std().item()
            found.append(math.log(std))
            x /= std
        return found
