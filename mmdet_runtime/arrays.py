"""One code for arrays and tensors, without importing torch: where it is not imported, nothing is a tensor."""

import sys
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', 'Tensor', np.ndarray)


def is_tensor(value: object) -> 'TypeGuard[Tensor]':
    """Whether a value is a ``torch.Tensor``."""
    torch = sys.modules.get('torch')
    return torch is not None and isinstance(value, torch.Tensor)


def namespace(value: object) -> Any:
    """The module with the functions for a value: ``torch`` for a tensor, otherwise ``numpy``."""
    return sys.modules['torch'] if is_tensor(value) else np


def float64_like(value: Any, like: Any) -> Any:
    """A float64 copy, or the value itself if it is one already: a tensor on the device of ``like`` if that is a tensor, otherwise an array."""
    if is_tensor(like):
        return sys.modules['torch'].as_tensor(value, dtype=sys.modules['torch'].float64, device=like.device)
    return np.asarray(value.detach().cpu() if is_tensor(value) else value, dtype=np.float64)


def like(values: Any, other: Any) -> Any:
    """Numbers as a tensor or an array, with the type and the device of another one."""
    return other.new_tensor(values) if is_tensor(other) else np.asarray(values, dtype=other.dtype)


def stable_order(values: Any) -> Any:
    """Indices (n,) that sort values (n,), those of equal values in their order."""
    return values.argsort(stable=True) if is_tensor(values) else values.argsort(kind='stable')
