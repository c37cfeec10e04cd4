"""mmcv's layers of transformers, imported without its warning that the compiled operators are missing: the package has its own."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

with warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='Fail to import')
    from mmcv.cnn.bricks.transformer import FFN, AdaptivePadding, MultiheadAttention, PatchEmbed, PatchMerging

__all__ = ['FFN', 'AdaptivePadding', 'MultiheadAttention', 'PatchEmbed', 'PatchMerging', 'recomputed']


def recomputed(module: nn.Module, with_cp: bool, *args: Any, **kwargs: Any) -> Tensor:
    """The output of a module; with ``with_cp`` its activations are recomputed in the backward pass instead of being kept."""
    if with_cp and torch.is_grad_enabled():
        return checkpoint(module, *args, use_reentrant=False, **kwargs)
    return module(*args, **kwargs)
