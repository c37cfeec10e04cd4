"""Sums and means over the processes of a training."""

from collections.abc import Iterable
from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn


def reduce_mean(tensor: Tensor) -> Tensor:
    """The mean over the processes, of the shape of ``tensor``, which stays as it is; without other processes the same object."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    tensor = tensor.clone().div_(torch.distributed.get_world_size())
    torch.distributed.all_reduce(tensor)
    return tensor


def all_reduce_dict(py_dict: dict, op: str = 'sum', group: Any = None, to_float: bool = True) -> dict:
    """Sums (``op='mean'``: means) over the processes of tensors that each of them has under the same names.

    Args:
        py_dict: names to tensors; it stays as it is.
        op: 'sum' or 'mean'.
        group: processes; all of them by default.
        to_float: whether the results are of type float.

    Returns:
        The same names; the same object without other processes.
    """
    if dist.get_world_size(group) == 1:
        return py_dict
    found = {name: value.float() if to_float else value for name, value in py_dict.items()}
    found = {name: value.clone() for name, value in found.items()}
    dist.all_reduce_dict(found, op, group)
    return found


def allreduce_grads(params: Iterable[nn.Parameter], coalesce: bool = True, bucket_size_mb: int = -1) -> None:
    """Average the gradients of parameters over the processes, in place.

    Args:
        params: parameters; those without a gradient are left out.
        coalesce: send many gradients at once, up to ``bucket_size_mb`` (a number not above 0: all).
        bucket_size_mb: see ``coalesce``.
    """
    grads = [param.grad.data for param in params if param.requires_grad and param.grad is not None]
    dist.all_reduce_params(grads, coalesce=coalesce, bucket_size_mb=bucket_size_mb, op='mean')


def sync_random_seed(seed: int | None = None, device: str = 'cuda') -> int:
    """One seed for all processes: ``seed``, or a random one of the first process; ``device`` is not used."""
    return dist.sync_random_seed() if seed is None else seed
