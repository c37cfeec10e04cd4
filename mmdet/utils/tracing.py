"""Whether an exporter is following the code."""

import torch


def is_exporting() -> bool:
    """Whether ``torch.jit.trace`` (by which ONNX files are written) or ``torch.export`` records what is computed.

    Code that caches tensors by the size of the input, or that picks the fastest of several equal ways, has to take then the one whose
    operations hold for every size and exist in ONNX.
    """
    return torch.jit.is_tracing() or torch.compiler.is_exporting()
