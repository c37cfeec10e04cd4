"""Whether an exporter is following the code."""

from collections.abc import Sequence

import torch
from torch import Tensor


def is_exporting() -> bool:
    """Whether ``torch.jit.trace`` (by which ONNX files are written) or ``torch.export`` records what is computed.

    Code that caches tensors by the size of the input, or that picks the fastest of several equal ways, has to take then the one whose
    operations hold for every size and exist in ONNX.
    """
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def tokens_to_map(tokens: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Tokens (B, H * W, C), row by row, to (B, C, H, W).

    By the sizes of the input: those of what ``unflatten()`` gives become constants in the graph of ``torch.jit.trace``.
    """
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, size_hw[0], size_hw[1])
