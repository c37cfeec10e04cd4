"""Taking apart a batch whose samples come from several sources."""

from typing import Any

import torch
from torch import Tensor


def split_batch(img: Tensor, img_metas: list[dict], kwargs: dict) -> dict[str, dict]:
    """The samples of each ``tag``.

    Args:
        img: (B, ...).
        img_metas: B dicts, each with a ``tag``.
        kwargs: further values of the batch: tensors, or lists of B values.

    Returns:
        For each tag the ``img``, ``img_metas`` and ``kwargs`` of its samples, tensors stacked.
    """
    batch: dict[str, Any] = dict(kwargs, img=img, img_metas=img_metas)
    batch.pop('tag', None)
    groups: dict[str, dict] = {}
    for tag in dict.fromkeys(meta['tag'] for meta in img_metas):
        rows = [row for row, meta in enumerate(img_metas) if meta['tag'] == tag]
        groups[tag] = {}
        for name, values in batch.items():
            chosen = [values[row] for row in rows]
            groups[tag][name] = torch.stack(chosen) if isinstance(values, Tensor) else chosen
    return groups
