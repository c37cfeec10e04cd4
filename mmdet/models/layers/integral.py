"""Expectation of a discrete distribution over distances (Generalized Focal Loss, eq. 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.utils.tracing import is_exporting


class Integral(nn.Module):
    """Mean of softmax distributions over the bins 0, 1, ..., reg_max.

    Args:
        reg_max: the last bin; there are reg_max + 1.
    """

    project: Tensor  # (reg_max + 1,) the bins

    def __init__(self, reg_max: int = 16):
        super().__init__()
        self.reg_max = reg_max
        # Persistent, since the published checkpoints carry it.
        self.register_buffer('project', torch.linspace(0, reg_max, reg_max + 1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., 4 * (reg_max + 1)) logits, side-major, to (..., 4) distances in [0, reg_max]."""
        probability = F.softmax(x.unflatten(-1, (4, self.reg_max + 1)), dim=-1)
        if is_exporting():  # OpenVINO in bf16 computes matrix products in it, and all that comes before one; elementwise operations behind them in fp32
            return (probability * self.project).sum(-1)
        return F.linear(probability, self.project.type_as(probability)[None])[..., 0]
