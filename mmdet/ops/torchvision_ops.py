"""The only module that imports torchvision.

A CUDA build of torchvision beside a CPU build of torch raises ``RuntimeError`` (not ``ImportError``) at import, a mismatched pair may
import and fail at the first call, and a CPU build beside a CUDA build of torch works on the CPU only. So a kernel is used on a kind of
device only after a trial call on one element has succeeded there; otherwise the callers use the pure torch versions of this package, and
a message says so once for each kind of device.
"""

import logging
from collections.abc import Callable

import torch
from mmengine.logging import print_log

_KERNELS: dict[str, dict[str, Callable]] = {}  # kernels by kind of device and name


def _answering_kernels(device_type: str) -> dict[str, Callable]:
    from torchvision import ops

    box, score = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device_type), torch.ones(1, device=device_type)
    if ops.nms(box, score, 0.5).tolist() != [0]:
        raise RuntimeError('torchvision.ops.nms answers wrongly for one box')
    one = torch.ones(1, 1, 1, 1, device=device_type)
    if ops.deform_conv2d(one, one.new_zeros(1, 2, 1, 1), one).item() != 1.0:
        raise RuntimeError('torchvision.ops.deform_conv2d answers wrongly for one pixel')
    if ops.roi_align(one, torch.tensor([[0.0, 0, 0, 1, 1]], device=device_type), 1, aligned=True).item() != 1.0:
        raise RuntimeError('torchvision.ops.roi_align answers wrongly for one pixel')
    return dict(nms=ops.nms, deform_conv2d=ops.deform_conv2d, roi_align=ops.roi_align)


def torchvision_kernel(name: str, device_type: str = 'cpu') -> Callable | None:
    """A compiled operator of torchvision, or None where torchvision is missing or broken.

    The first call imports torchvision, which takes one or two seconds; modules that need a kernel therefore look it up when they are built.

    Args:
        name: ``'nms'``, ``'deform_conv2d'`` or ``'roi_align'``.
        device_type: kind of device on which it is to run, such as ``'cuda'``.
    """
    if device_type not in _KERNELS:
        kernels = {}
        try:
            kernels = _answering_kernels(device_type)
        except ModuleNotFoundError as error:
            print_log(f'torchvision is not installed ({error}): using the torch operators of mmdet.ops', 'current')
        except Exception as error:  # a broken build may raise anything: RuntimeError, OSError, AttributeError
            message = f'torchvision does not work on {device_type} here ({type(error).__name__}: {error})'
            print_log(f'{message}: using the torch operators of mmdet.ops', 'current', logging.WARNING)
        _KERNELS[device_type] = kernels
    return _KERNELS[device_type].get(name)
