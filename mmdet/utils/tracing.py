"""Whether an exporter is following the code, and what the code does then."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


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


# ---------------------------------------------------------------------------------------------------- networks of other libraries


def _linear(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Of Keys, with a = -0.5: what torch takes with ``antialias``, unlike without."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, far).masked_fill(x >= 2, 0)


# Modes of an antialiased resize: from distances, in pixels of the larger of the two grids' steps, to weights.
_KERNELS = {'bilinear': _linear, 'bicubic': _cubic}


class Traceable(TorchFunctionMode):
    """While a network of another library is traced within it, some functions of torch are computed by others, so that the trace holds for all sizes
    and can be written as ONNX.

    - ``interpolate`` with ``antialias``, which the exporter does not know, is a product with two matrices;
    - ``linspace`` has the type that is asked for: the exporter takes that of its ends;
    - ``tensor`` and ``as_tensor`` stack the sizes in a list, of which the tracer keeps the numbers of the example;
    - ``cat`` leaves out what has no elements, such as the registers of a ViT that has none: the exporter loses its shape.

    Elsewhere nothing changes.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """``func`` or what is computed instead; the mode is off within."""
        instead = _INSTEAD.get(func) if torch.jit.is_tracing() else None
        return (instead or func)(*args, **(kwargs or {}))


def whole(value: Any = 0, *base: Any) -> Any:
    """``int``, but of a size that is traced: it stays one."""
    return value.to(torch.int64) if isinstance(value, Tensor) and torch.jit.is_tracing() else int(value, *base)


def _interpolate(x: Tensor, size: Any = None, *args: Any, **options: Any) -> Tensor:
    kernel = (
        _KERNELS.get(options.get('mode', '')) if options.get('antialias') and not options.get('align_corners') else None
    )
    if kernel is None or size is None or x.dim() != 4:
        return F.interpolate(x, size, *args, **options)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    down, right = (_smoothing(old, new, kernel, x.device) for old, new in zip(x.shape[2:], (height, width)))
    return (down @ x.float() @ right.T).to(x.dtype)


def _smoothing(old: Any, new: Any, kernel: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
    """The matrix (new, old) that resizes a side: each new pixel is a mean of the old ones near its centre."""
    before, after = (torch.as_tensor(side, device=device).float() for side in (old, new))
    step = before / after
    centres = (torch.arange(new, device=device) + 0.5) * step
    gaps = torch.arange(old, device=device) + 0.5 - centres.unsqueeze(1)
    weights = kernel(gaps.abs() / step.clamp(min=1))
    return weights / weights.sum(1, keepdim=True)


def _linspace(start: Any, end: Any, steps: Any, **options: Any) -> Tensor:
    places = torch.arange(steps, **{'dtype': torch.get_default_dtype(), **options})
    return start + places * ((end - start) / torch.as_tensor(steps - 1, device=places.device).clamp(min=1)).to(
        places.dtype
    )


def _of_sizes(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def stacked(data: Any, *args: Any, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
        if not _has_tensors(data):
            return function(data, *args, dtype=dtype, **options)
        found = _stacked(data)
        return found.to(options.get('device') or found.device, dtype or found.dtype)

    return stacked


def _has_tensors(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and any(isinstance(one, Tensor) or _has_tensors(one) for one in data)


def _stacked(data: Any) -> Tensor:
    return torch.stack([_stacked(one) for one in data]) if isinstance(data, (list, tuple)) else torch.as_tensor(data)


def _cat(tensors: Any, *args: Any, **options: Any) -> Tensor:
    return torch.cat([part for part in tensors if part.numel()] or tensors, *args, **options)


_INSTEAD: dict[Any, Callable[..., Tensor]] = {
    F.interpolate: _interpolate,
    torch.linspace: _linspace,
    torch.tensor: _of_sizes(torch.tensor),
    torch.as_tensor: _of_sizes(torch.as_tensor),
    torch.cat: _cat,
}
