"""Weights and inputs by formula, so that a whole network's output can be compared with reference numbers that travelled as text.

    h_k = (31 k^2 + 7919 k (i + 1) + 104729 (i + 1)) mod 65521,   u(n, i)[k] = 2 h_k / 65521 - 1,   k = 0 .. n - 1

Every tensor of a state dict is filled with ``u(number of elements, its position)`` where the position counts the detector's keys sorted as
plain strings. Keys sort as ``backbone.`` < ``bbox_head.`` < ``neck.``, so a backbone can be filled without the rest of its detector.
"""

from collections.abc import Iterable

import numpy as np
import torch

_MODULUS = 65521
_NOT_FILLED = ('num_batches_tracked', 'project')


def u(n: int, i: int) -> np.ndarray:
    """(n,) float64 numbers in [-1, 1); `i` >= 0 tags the sequence.

    >>> u(3, 0).round(6).tolist()
    [0.196807, 0.439477, 0.68404]
    """
    return np.resize(_period(n, i), n)


def _period(n: int, i: int) -> np.ndarray:
    """The numbers of ``u(n, i)`` up to where they repeat: h_k is a polynomial of k modulo 65521, and so has that period."""
    k = np.arange(min(n, _MODULUS), dtype=np.int64)
    h = (31 * k * k + 7919 * k * (i + 1) + 104729 * (i + 1)) % _MODULUS
    return 2 * (h / _MODULUS) - 1


def _repeated(values: np.ndarray, shape: Iterable[int]) -> torch.Tensor:
    """One period, rounded to float32 and repeated to fill `shape`."""
    return torch.from_numpy(np.resize(values.astype(np.float32), tuple(shape)))


def tensor(shape: Iterable[int], i: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """``scale * u + shift``, computed in float64, as a float32 tensor of `shape` in C order."""
    shape = tuple(shape)
    return _repeated(scale * _period(int(np.prod(shape)), i) + shift, shape)


def fill_state_dict(
    state_dict: dict[str, torch.Tensor], keys_order: Iterable[str] | None = None, prefix: str = ''
) -> dict[str, torch.Tensor]:
    """Fill a state dict by the rule of the reference sheet's appendix.

    Args:
        state_dict: gives names and shapes. What ends in ``num_batches_tracked`` or ``project``, and whole numbers, are passed on
            unchanged; the latter count as positions.
        keys_order: names of the whole detector, in any order (they are sorted here); default: those of `state_dict`.
        prefix: put before each name of `state_dict` (``'backbone.'`` for a backbone alone).

    Returns:
        A new state dict, for ``load_state_dict(strict=True)``.
    """
    names = [prefix + key for key in state_dict] if keys_order is None else list(keys_order)
    position = {name: i for i, name in enumerate(sorted(name for name in names if not name.endswith(_NOT_FILLED)))}
    filled = {}
    for key, value in state_dict.items():
        name = prefix + key
        if name.endswith(_NOT_FILLED) or not value.is_floating_point():
            filled[key] = value
            continue
        values = _period(value.numel(), position[name])
        if name.endswith('running_var'):
            values = 1 + 0.5 * values
        elif value.dim() >= 2:
            values = values * np.sqrt(3 / (value.numel() / value.shape[0]))
        elif name.endswith(('bias', 'running_mean')):
            values = 0.1 * values
        else:
            values = 1 + 0.1 * values
        if 'conv_offset' in name:
            values = 0.5 * values
        filled[key] = _repeated(values, value.shape)
    return filled


def image() -> torch.Tensor:
    """The input of the whole-network rows: (1, 3, 96, 128), fed to the backbone as it is."""
    return tensor((1, 3, 96, 128), 7, scale=2.0)


def statistics(output: torch.Tensor) -> tuple[float, ...]:
    """Mean, unbiased std, min, max (in float64), first and last element: the columns of the reference rows."""
    values = output.detach().double().flatten()
    return tuple(
        value.item() for value in (values.mean(), values.std(), values.min(), values.max(), values[0], values[-1])
    )
