"""What a network does with shapes and parameters, found by running it on tensors without numbers (the device ``meta``): nothing is computed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors of nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(item)


def new_leaves(outputs: Any, seen: set[Any]) -> list[Tensor]:
    """The tensors that need a gradient and that ``outputs`` are computed from, without those met in earlier calls with the same ``seen``."""
    found, nodes = [], []
    for tensor in tensors_in(outputs):
        if tensor.grad_fn is not None:
            nodes.append(tensor.grad_fn)
        elif tensor.requires_grad and tensor not in seen:
            seen.add(tensor)
            found.append(tensor)
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable') and node.variable not in seen:
            seen.add(node.variable)
            found.append(node.variable)
        nodes.extend(before for before, _ in node.next_functions if before is not None)
    return found


def run_without_numbers(network: nn.Module, *inputs: Any, parameters: Mapping[str, Tensor] | None = None) -> Any:
    """Outputs, on the device ``meta``, of a network with parameters of the shapes of its own; it keeps its mode, and runs in evaluation mode.

    Args:
        network: on any device.
        inputs: on ``meta``.
        parameters: by name, on ``meta``, to be taken instead of new ones.
    """
    own = (*network.named_parameters(), *network.named_buffers())
    tensors = {name: torch.empty_like(tensor, device='meta') for name, tensor in own} | dict(parameters or {})
    modes = {module: module.training for module in network.modules()}
    try:
        return functional_call(network.eval(), tensors, inputs)
    finally:
        for module, mode in modes.items():
            module.training = mode


def unread_parameters(network: nn.Module, *inputs: Any) -> list[str]:
    """Names of the parameters that no output for such inputs depends on, so that they never get a gradient."""
    own = {name: torch.empty_like(p, device='meta').requires_grad_() for name, p in network.named_parameters()}
    read = {id(leaf) for leaf in new_leaves(run_without_numbers(network, *inputs, parameters=own), set())}
    return [name for name, tensor in own.items() if id(tensor) not in read]


def strides_of(maps: Iterable[Tensor], size_hw: tuple[int, int]) -> list[int] | None:
    """Stride of each map (B, C, h, w) of an image; None where an image side is no whole multiple of that of a map, or the two sides differ."""
    found = []
    for one in maps:
        (h, w), (height, width) = one.shape[-2:], size_hw
        if height % h or height // h != width / w:
            return None
        found.append(height // h)
    return found
