"""Going on with less where the GPU has no memory left."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError


def cast_tensor_type(
    inputs: Any,
    src_type: torch.dtype | str | torch.device | None = None,
    dst_type: torch.dtype | str | torch.device | None = None,
) -> Any:
    """Move the tensors in dicts, lists and tuples to a type or a device.

    Args:
        inputs: a tensor, or a structure of them; other values stay as they are.
        src_type: move only tensors of this type, or on this device; None: every one.
        dst_type: where to.

    Raises:
        ArgumentError: no ``dst_type``.

    >>> cast_tensor_type([torch.ones(1), torch.ones(1, dtype=torch.long), 'a'], torch.float, torch.half)
    [tensor([1.], dtype=torch.float16), tensor([1]), 'a']
    """
    if dst_type is None:
        raise ArgumentError('must be a type or a device', field='dst_type', received=dst_type)
    if isinstance(inputs, Tensor):
        own = inputs.dtype if isinstance(src_type, torch.dtype) else inputs.device
        same = src_type is None or own == (torch.device(src_type) if isinstance(src_type, str) else src_type)
        return inputs.to(dst_type) if same else inputs
    if isinstance(inputs, dict):
        return type(inputs)({key: cast_tensor_type(value, src_type, dst_type) for key, value in inputs.items()})
    if type(inputs) in (list, tuple):
        return type(inputs)(cast_tensor_type(value, src_type, dst_type) for value in inputs)
    return inputs


class AvoidOOM:
    """Calls a function again where the GPU's memory does not suffice: after emptying the cache, in half precision, then on the CPU.

    The results have the type and the device of the inputs.

    Args:
        to_cpu: whether the last resort is the CPU; otherwise its error is raised.
        test: do as if the memory never sufficed before the last try.
    """

    def __init__(self, to_cpu: bool = True, test: bool = False):
        self.to_cpu, self.test = to_cpu, test

    def retry_if_cuda_oom(self, func: Callable) -> Callable:
        """Decorate ``func``, a function of tensors."""

        @functools.wraps(func)
        def careful(*args: Any, **kwargs: Any) -> Any:
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            dtype = tensors[0].dtype if tensors else None
            device = tensors[0].device if tensors else None
            failures: tuple[type[BaseException], ...] = (torch.cuda.OutOfMemoryError,)
            if not self.test:
                try:
                    return func(*args, **kwargs)
                except failures:
                    torch.cuda.empty_cache()
                try:
                    return func(*args, **kwargs)
                except failures:
                    warnings.warn(f'no GPU memory for {func.__name__}: trying again in half precision')
            tries: list[tuple[Any, Any]] = [(dtype, torch.half)] if dtype == torch.float else []
            tries += [(device, 'cpu')] if self.to_cpu and device is not None else []
            for place, (source, target) in enumerate(tries):
                last = place == len(tries) - 1
                try:
                    if self.test and not last:
                        continue
                    found = func(*cast_tensor_type(args, source, target), **cast_tensor_type(kwargs, source, target))
                    return cast_tensor_type(found, torch.half if target is torch.half else torch.device('cpu'), source)
                except failures:
                    if last:
                        raise
                    warnings.warn(f'no GPU memory for {func.__name__} in half precision: trying again on the CPU')
                    torch.cuda.empty_cache()
            return func(*args, **kwargs)

        return careful


AvoidCUDAOOM = AvoidOOM()
