"""The one place that imports torchvision.

A CUDA build of torchvision beside a CPU build of torch raises ``RuntimeError`` (not ``ImportError``) at import, and a mismatched pair may
import and fail at the first call. So a kernel is handed out only after it has answered a call on one element, on CPU; otherwise the callers
use the pure-torch twins of this package, and that is said once.
"""

import logging
from collections.abc import Callable

import torch
from mmengine.logging import print_log

_KERNELS: dict[str, Callable] | None = None


def _answering_kernels() -> dict[str, Callable]:
    from torchvision import ops

    box, score = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1)
    if ops.nms(box, score, 0.5).tolist() != [0]:
        raise RuntimeError('torchvision.ops.nms answers wrongly for one box')
    one = torch.ones(1, 1, 1, 1)
    if ops.deform_conv2d(one, torch.zeros(1, 2, 1, 1), one).item() != 1.0:
        raise RuntimeError('torchvision.ops.deform_conv2d answers wrongly for one pixel')
    return dict(nms=ops.nms, deform_conv2d=ops.deform_conv2d)


def torchvision_kernel(name: str) -> Callable | None:
    """A compiled operator of torchvision, or None where torchvision is missing or broken.

    The first call imports torchvision (a second or two), so modules that need a kernel ask for it when they are built.

    Args:
        name: ``'nms'`` or ``'deform_conv2d'``.
    """
    global _KERNELS
    if _KERNELS is None:
        try:
            _KERNELS = _answering_kernels()
        except ModuleNotFoundError as error:
            _KERNELS = {}
            print_log(f'torchvision is not installed ({error}): using the torch operators of mmdet.ops', 'current')
        except Exception as error:  # a broken build may raise anything: RuntimeError, OSError, AttributeError
            _KERNELS = {}
            message = f'torchvision does not work here ({type(error).__name__}: {error})'
            print_log(f'{message}: using the torch operators of mmdet.ops', 'current', logging.WARNING)
    return _KERNELS.get(name)
