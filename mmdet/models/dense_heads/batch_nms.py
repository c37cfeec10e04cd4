"""The NMS of whole batches for exporters: one operator, and sizes that never depend on values until the end.

Naming: as in ``batch_decode``, and R rows of scores in the NMS, K the most that are kept of an image.
"""

import torch
from mmengine.config import ConfigDict
from torch import Tensor

from mmdet.core.priors.grid import quotient
from mmdet.errors import ConfigError
from mmdet.ops.nms_export import nms_rows

from .batch_decode import BatchCandidates, padded_topk

# More boxes than there are; the NMS operator has no number for "all".
_ALL = 1 << 24


def ranked(found: BatchCandidates, settings: ConfigDict) -> tuple[BatchCandidates, Tensor, Tensor]:
    """What the NMS of the settings leaves, of each image by falling score.

    Args:
        found: the candidates.
        settings: ``nms`` as :func:`exportable_nms` gives it, or None, and ``max_per_img``.

    Returns:
        the candidates that the places are those of; scores (B, K), 0 where nothing is left; places (B, K) in N, or in C * N, class by class,
        where candidates have no labels.
    """
    nms, limit = settings.get('nms'), settings.get('max_per_img', -1)
    if nms is not None and (nms.get('class_agnostic') or found.groups is not None):
        found = found.pairs()
    scores = found.scores if found.labels is not None else found.scores.transpose(1, 2)  # (B, N) or (B, C, N)
    per_image = scores.flatten(1)  # (B, N) or (B, C * N)
    if nms is not None:
        boxes, rows = found.boxes, _score_rows(found, scores, bool(nms.get('class_agnostic')))  # (B, R, N)
        if boxes.dim() == 4:  # each class has boxes of its own, as if it were an image
            boxes, rows = boxes.transpose(1, 2).flatten(0, 1), rows.flatten(0, 1).unsqueeze(1)
        picked = nms_rows(boxes, rows, nms['iou_threshold'], limit if limit >= 0 else _ALL)
        image, row, box = picked.unbind(1)
        place = box if found.labels is not None else row * rows.shape[2] + box
        place = place + image * (rows.shape[2] if found.boxes.dim() == 4 else per_image.shape[1])
        # Each row was suppressed for itself: the limit is that of an image, so what was picked is ranked once more.
        flat = per_image.reshape(-1)
        per_image = torch.zeros_like(flat).scatter(0, place, flat[place]).view_as(per_image)
    top, places, _ = padded_topk(per_image, limit if limit >= 0 else per_image.shape[1])
    return found, top.clamp(min=0), places


def boxes_and_labels(found: BatchCandidates, image: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (M, 4) and labels (M,) at places (M,) of images (M,), as :func:`ranked` gives them."""
    if found.labels is not None:
        return found.boxes[image, place], found.labels[image, place]
    labels, box = quotient(place, found.scores.shape[1])
    return found.boxes[(image, box, labels) if found.boxes.dim() == 4 else (image, box)], labels


def _score_rows(found: BatchCandidates, scores: Tensor, class_agnostic: bool) -> Tensor:
    """Scores (B, R, N) with a row for each class (or group): exact, while boxes shifted apart by their class would lose their last bits."""
    if found.labels is None:
        return scores
    if class_agnostic:
        return scores.unsqueeze(1)
    labels, count = found.groups or (found.labels, found.num_classes)
    own = labels.unsqueeze(1) == torch.arange(count, device=labels.device)[:, None]
    return scores.unsqueeze(1) * own


def exportable_nms(settings: ConfigDict, legacy: bool, field: str = 'test_cfg', instead: str = '') -> ConfigDict:
    """The settings with an NMS that the operator of ONNX can do, by the names that it is asked for.

    Args:
        settings: ``nms``, ``max_per_img``, ``score_thr``, ``min_bbox_size``.
        legacy: whether corners are inclusive pixels.
        field: where the settings are in a config.
        instead: what to do otherwise, for the message.

    Raises:
        ConfigError: an NMS of another kind.
    """
    nms, instead = settings.get('nms'), f'the operator of ONNX cannot do it{instead}'
    if settings.get('min_bbox_size', -1) > 0:
        message = f'is in pixels of the original image; {instead}'
        raise ConfigError(message, field=f'{field}.min_bbox_size', received=settings.min_bbox_size)
    if nms is None:
        return settings
    nms = ConfigDict(nms)
    if 'iou_thr' in nms:
        nms.iou_threshold = nms.pop('iou_thr')
    kind, offset = nms.get('type', 'nms'), nms.get('offset', 0) or int(legacy)
    if kind != 'nms' or offset or 'iou_threshold' not in nms:
        message = f"must be of type 'nms' with an iou_threshold and without an offset; {instead}"
        raise ConfigError(message, field=f'{field}.nms', received=dict(nms, offset=offset))
    if nms.get('score_threshold', 0) > settings.get('score_thr', 0):
        message = f'must not be above score_thr; {instead}'
        raise ConfigError(message, field=f'{field}.nms.score_threshold', received=nms.score_threshold)
    limits = [value for value in (nms.get('max_num', -1), settings.get('max_per_img', -1)) if value >= 0]
    return ConfigDict(settings, nms=nms, max_per_img=settings.get('max_per_img', -1) if not limits else limits[-1])
