"""Bringing the boxes, scores and masks of several views of an image together.

Naming: V views, n boxes. A view's metainfo has ``img_shape``, ``scale_factor``, ``flip`` and ``flip_direction``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import bbox_mapping_back


def _to_image(bboxes: Tensor, meta: dict) -> Tensor:
    """Boxes of a view in pixels of the image."""
    return bbox_mapping_back(bboxes, meta['img_shape'], meta['scale_factor'], meta['flip'], meta['flip_direction'])


def merge_aug_results(
    aug_batch_results: Sequence[Sequence[InstanceData]], aug_batch_img_metas: Sequence[Sequence[dict]]
) -> list[InstanceData]:
    """For each image the boxes of its views, mapped back and one after the other, without an NMS.

    Args:
        aug_batch_results: V lists with the results of each image, with ``bboxes`` in pixels of the view.
        aug_batch_img_metas: V lists with the metainfo of each image.
    """
    found = []
    for results, metas in zip(zip(*aug_batch_results), zip(*aug_batch_img_metas)):
        mapped: list[Any] = [InstanceData(**dict(result.items())) for result in results]
        for result, meta in zip(mapped, metas):
            result.bboxes = _to_image(result.bboxes, meta)
        found.append(InstanceData.cat(mapped))
    return found


def merge_aug_bboxes(
    aug_bboxes: Sequence[Tensor],
    aug_scores: Sequence[Tensor] | None,
    img_metas: Sequence[Sequence[dict]],
    rcnn_test_cfg: Any = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The mean over the views of boxes that correspond to each other, mapped back, and of their scores.

    Args:
        aug_bboxes: V tensors (n, 4k).
        aug_scores: V tensors (n, C), or None.
        img_metas: V lists with one metainfo.
        rcnn_test_cfg: not used.

    Returns:
        (n, 4k), and with scores (n, C).
    """
    mapped = [_to_image(bboxes, metas[0]) for bboxes, metas in zip(aug_bboxes, img_metas)]
    bboxes = torch.stack(mapped).mean(0)
    return bboxes if aug_scores is None else (bboxes, torch.stack(list(aug_scores)).mean(0))


def merge_aug_scores(aug_scores: Sequence) -> Any:
    """The mean over the views of tensors or arrays."""
    if isinstance(aug_scores[0], Tensor):
        return torch.stack(list(aug_scores)).mean(0)
    return np.mean(aug_scores, axis=0)


def merge_aug_masks(
    aug_masks: Sequence[Tensor], img_metas: dict, weights: Sequence[float] | Tensor | None = None
) -> Tensor:
    """The (weighted) mean over the views of masks (..., H, W), mirrored back where ``img_metas`` says that they are."""
    masks = torch.stack(list(aug_masks))
    if img_metas['flip']:
        masks = masks.flip(dict(horizontal=[-1], vertical=[-2], diagonal=[-2, -1])[img_metas['flip_direction']])
    if weights is None:
        return masks.mean(0)
    factors = torch.as_tensor(weights, dtype=masks.dtype, device=masks.device).view(-1, *[1] * (masks.dim() - 1))
    return (masks * factors).sum(0) / factors.sum()
