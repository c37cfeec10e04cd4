"""Masks as boxes and as COCO's run lengths. N masks of (h, w)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def mask2bbox(masks: Tensor) -> Tensor:
    """(N, 4) float32 xyxy around masks (N, h, w), zeros for an empty mask; the far edge of the last pixel is inside."""
    boxes = masks.new_zeros((len(masks), 4), dtype=torch.float32)
    if masks.numel() == 0:
        return boxes
    for axis in (0, 1):
        inside = masks.bool().any(dim=1 + axis).to(torch.uint8)  # (N, w), then (N, h)
        boxes[:, axis] = inside.argmax(dim=1).float()
        boxes[:, 2 + axis] = (inside.size(1) - inside.flip(1).argmax(dim=1)).float()
    return boxes * inside.any(dim=1, keepdim=True)


def encode_mask_results(mask_results: Sequence[Any] | Tensor) -> list[dict]:
    """Masks (h, w), tensors or arrays, as run lengths ``dict(size, counts)`` in the COCO API's compressed form."""
    import pycocotools.mask as coco_mask  # only for masks

    arrays = (mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask) for mask in mask_results)
    return [coco_mask.encode(np.asfortranarray(array.astype(np.uint8))) for array in arrays]


def split_combined_polys(
    polys: Sequence[Tensor], poly_lens: Sequence[Tensor], polys_per_mask: Sequence[Tensor]
) -> list[list[list[Tensor]]]:
    """Polygons of B images that lie one after the other in flat tensors, as a list of polygons per mask per image.

    Args:
        polys: B tensors of the points of all polygons of an image.
        poly_lens: B tensors, the number of values of each polygon.
        polys_per_mask: B tensors, the number of polygons of each mask.
    """
    images = []
    for flat, lengths, counts in zip(polys, poly_lens, polys_per_mask):
        parts = iter(torch.split(flat, [int(length) for length in lengths]))
        images.append([[next(parts) for _ in range(int(count))] for count in counts])
    return images
