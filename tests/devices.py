"""Helpers of tests that run on several devices; the fixture ``device`` is in conftest.py."""

import copy

from mmengine.structures import BaseDataElement
from torch import Tensor, nn


def on(device: str, value):
    """A copy of tensors, data elements and modules, and of lists, tuples and dicts of them, on a device."""
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, (Tensor, BaseDataElement)):
        return value.to(device)
    if isinstance(value, dict):
        return {key: on(device, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(on(device, item) for item in value)
    return value


def tolerance(device: str, **on_cpu: float) -> dict[str, float]:
    """Arguments of ``assert_close``: those given, and on a GPU, whose sums run in another order, 1e-4 at least."""
    return on_cpu if device == 'cpu' else {key: max(value, 1e-4) for key, value in on_cpu.items()}
