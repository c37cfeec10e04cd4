"""The raw outputs of one level of a dense head, of one image or of a batch.

Naming: B images, A priors of a location, P_l = H_l * W_l * A priors of a level (row-major, those of a location together), K class channels
and D box channels of a prior.
"""

import dataclasses

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """The same numbers in float32, or as they are where they are wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def flatten_map(level: Tensor, per_location: int = 1) -> Tensor:
    """A map (B, A channels, H, W) to (B, H * W * A, channels)."""
    rows = level.flatten(2).transpose(1, 2)
    # Sizes from the input: those of what unflatten() gives are constants in a traced graph.
    return rows if per_location == 1 else rows.reshape(level.shape[0], -1, int(level.shape[1]) // per_location)


@dataclasses.dataclass(frozen=True)
class LevelOutputs:
    """The raw outputs of one level for one image, and what they refer to.

    Attributes:
        scores: (P_l, K) class scores in the form that the head returns.
        bbox_pred: (P_l, D).
        factors: (P_l,) logits of the factors of the scores; None where the head has none.
        priors: (P_l, ...) as the prior generator makes them.
        stride: the horizontal stride.
        activated: whether the scores are (P_l, C) probabilities already, whatever the head returns.
    """

    scores: Tensor
    bbox_pred: Tensor
    factors: Tensor | None
    priors: Tensor
    stride: float
    activated: bool = False


@dataclasses.dataclass(frozen=True)
class BatchLevel(LevelOutputs):
    """As :class:`LevelOutputs`, of a whole batch: each tensor has an axis B in front, and ``priors`` stays empty.

    Attributes:
        number: of the level.
        size_hw: (H_l, W_l), from which the priors of chosen rows are computed.
    """

    number: int = 0
    size_hw: tuple[int, int] = (0, 0)
