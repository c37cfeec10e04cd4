"""Coordinates in the form that transformer detectors use."""

import math

import torch
from torch import Tensor

from mmdet.errors import ModelInputError


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Log-odds of probabilities, which are first brought into [eps, 1 - eps].

    >>> inverse_sigmoid(torch.tensor([0, 0.5, 1]))
    tensor([-11.5129,   0.0000,  11.5129])
    """
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def waves(values: Tensor, num_feats: int, temperature: float) -> Tensor:
    """Sine and cosine, in turns, of values (...) at frequencies that fall geometrically: (..., num_feats)."""
    index = torch.arange(num_feats, dtype=torch.float32, device=values.device)
    period = temperature ** (2 * torch.div(index, 2, rounding_mode='floor') / num_feats)
    angles = values[..., None] / period
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


def coordinate_to_encoding(
    coord_tensor: Tensor, num_feats: int = 128, temperature: int = 10000, scale: float = 2 * math.pi
) -> Tensor:
    """Encode points (..., 2), as x, y, or boxes (..., 4), as x, y, w, h, in [0, 1].

    Args:
        coord_tensor: points or boxes.
        num_feats: length of the code of one coordinate.
        temperature: the longest period over the shortest.
        scale: factor of the coordinates.

    Returns:
        (..., 2 num_feats), y before x; or (..., 4 num_feats), y, x, w, h.

    Raises:
        ModelInputError: a last dimension of another length.
    """
    if coord_tensor.size(-1) not in (2, 4):
        received = tuple(coord_tensor.shape)
        raise ModelInputError('must be (..., 2) or (..., 4)', field='coord_tensor', received=received)
    order = [1, 0, 2, 3][: coord_tensor.size(-1)]
    return waves(coord_tensor[..., order] * scale, num_feats, temperature).flatten(-2)
