"""The budgets ``flops``, ``model_size``, ``layers``, ``efficient_score`` and ``latency``."""

import math
from collections.abc import Sequence
from typing import Any

from mmdet.registry import NAS_BUDGETS

from ...archs import Block, Structure, conv_layers, costs_of
from ...errors import ConfigError
from ..measure import BlockMeasure
from .base import Budget, Predictor, needs_frames


@NAS_BUDGETS.register_module('flops')
class FlopsBudget(BlockMeasure, Budget):
    """FLOPs at ``image_size``, times ``frames``: multiply-adds and small operations, as in :mod:`mmdet.archs.blocks.costs`."""

    name = 'flops'

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._area = float(self.image_hw[0] * self.image_hw[1] * (self.frames or 1))

    def block_value(self, block: Block) -> tuple[float, float]:
        """FLOPs per input pixel, and output pixels per input pixel."""
        return costs_of(block).flops_per_pixel, 1 / (block.stride * block.stride)

    def combine(self, values: Sequence[tuple[float, float]]) -> float:
        area, total = self._area, 0.0
        for cost, shrink in values:
            total += cost * area
            area *= shrink
        return total

    def check(self, structure: Structure) -> None:
        needs_frames(structure, self.frames, self.name)


@NAS_BUDGETS.register_module('model_size')
class ModelSizeBudget(BlockMeasure, Budget):
    """Parameters without a classifier, as :func:`~mmdet.archs.blocks.costs.model_size` counts them."""

    name = 'model_size'

    def block_value(self, block: Block) -> float:
        return costs_of(block).model_size


@NAS_BUDGETS.register_module('layers')
class LayersBudget(BlockMeasure, Budget):
    """Number of convolutions in the main path; projections and squeeze-excitation do not count."""

    name = 'layers'

    def block_value(self, block: Block) -> int:
        return conv_layers(block)


@NAS_BUDGETS.register_module('efficient_score')
class EfficientScoreBudget(BlockMeasure, Budget):
    """The "rho" of DeepMAD (Shen et al., CVPR 2023), depth over geometric-mean width: the largest D / exp(sum of ln widths / D) of a stage.

    D is the number of convolutions up to the end of the stage; the width of a convolution is its input channels per group times its taps.
    """

    name = 'efficient_score'

    def block_value(self, block: Block) -> tuple[int, int, float]:
        """Stride, number of convolutions, and the sum of their ln width."""
        log_width = 0.0
        for count, fan_ins in costs_of(block).fan_ins:
            for fan_in in fan_ins:
                log_width += count * math.log(fan_in)
        return block.stride, conv_layers(block), log_width

    def combine(self, values: Sequence[tuple[int, int, float]]) -> float:
        depth, log_width, largest = 0, 0.0, 0.0
        for stride, layers, width in values:
            if depth and stride == 2:
                largest = max(largest, depth * math.exp(-log_width / depth))
            depth += layers
            log_width += width
        return max(largest, depth * math.exp(-log_width / depth))


@NAS_BUDGETS.register_module('latency')
class LatencyBudget(Budget):
    """Seconds per image, by the latency predictor of the search, at the predictor's own image size."""

    name = 'latency'
    predictor: Predictor

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        if self.predictor is None:
            raise ConfigError('the latency budget needs a latency predictor (config key latency)', field=self.name)

    def __call__(self, structure: Structure) -> float:
        return self.predictor(structure)

    def check(self, structure: Structure) -> None:
        self.predictor.check(structure)
