"""Text on pictures: its size relative to the image, and the placement of labels."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# A label may hide at most the first share of any other box, and at most the second share of its own box when it lies inside.
_MAX_HIDDEN_SHARE = 0.10
_MAX_OWN_SHARE = 0.25
# A box smaller than this share of its label gets one only where no other box is near: in a crowd the labels would hide the scene.
_MIN_BOX_PER_LABEL = 0.6


def text_height_px(height: int, width: int) -> int:
    """Height of a capital letter for a picture of this size: 12 at 1920 x 1080, never below 8 (smaller ones are illegible)."""
    return int(np.clip(round(0.0085 * (height * width) ** 0.5), 8, 60))


@lru_cache(maxsize=256)
def font_scale(text_px: float) -> float:
    """OpenCV's font scale at which a capital letter is ``text_px`` high."""
    return text_px / cv2.getTextSize('H', _FONT, 10.0, 1)[0][1] * 10.0


def _thickness(scale: float) -> int:
    return max(1, round(scale * 1.4))


@lru_cache(maxsize=4096)
def text_size_wh(text: str, scale: float) -> tuple[int, int]:
    """Width and height in pixels of ``text``, without the parts below the baseline."""
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, _thickness(scale))
    return width, height


def put_text(image: np.ndarray, text: str, origin_xy: tuple[int, int], scale: float, color: Sequence[int]) -> None:
    """Write ``text`` in place, anti-aliased, its baseline starting at ``origin_xy``."""
    color = tuple(int(channel) for channel in color)
    cv2.putText(image, text, tuple(origin_xy), _FONT, scale, color, _thickness(scale), cv2.LINE_AA)


def place_labels(
    boxes: np.ndarray, sizes_wh: Sequence[Sequence[tuple[int, int]]], *, image_wh: tuple[int, int]
) -> list[tuple[int, int, int] | None]:
    """Greedy label placement: large boxes choose first; a label that would hide something is left out.

    For each size option these places are tried in turn: above the box (left-aligned, then right-aligned), below it, in its upper left corner.

    Args:
        boxes: (N, 4) xyxy.
        sizes_wh: for each box the label sizes to try, longest text first.
        image_wh: width and height of the image, in which labels stay.

    Returns:
        For each box ``(option, left, top)`` in pixels, or None where nothing fits. Placed labels never overlap each other and hide at
        most a tenth of any other box.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    width, height = image_wh
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
    taken = np.zeros((height, width), bool)
    places: list[tuple[int, int, int] | None] = [None] * len(boxes)
    for index in np.argsort(-areas, kind='stable'):
        labels, options, alone = _candidates(boxes[index], areas[index], sizes_wh[index], width, height)
        if not len(labels):
            continue
        # Only boxes near this one can lie under its labels: one pass over all boxes instead of one per candidate.
        margin = np.where(alone, labels[:, 3] - labels[:, 1], 0)[:, None]
        reach = np.hstack([labels[:, :2] - margin, labels[:, 2:] + margin])  # (K, 4)
        low, high = reach[:, :2].min(axis=0), reach[:, 2:].max(axis=0)
        near = ((boxes[:, :2] < high) & (boxes[:, 2:] > low)).all(axis=1)
        near[index] = False
        hidden = _overlap_areas(reach, boxes[near])  # (K, M)
        allowed = np.where(alone, 0, _MAX_HIDDEN_SHARE)[:, None] * areas[near]
        for k in np.flatnonzero((hidden <= allowed).all(axis=1)):
            left, top, right, bottom = (int(v) for v in labels[k])
            if not taken[top:bottom, left:right].any():
                taken[top:bottom, left:right] = True
                places[index] = (options[k], left, top)
                break
    return places


def _candidates(
    box: np.ndarray, area: float, sizes_wh: Sequence[tuple[int, int]], width: int, height: int
) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Label rectangles (K, 4) xyxy of one box that lie on the image, in order of preference, their size options (K), and whether
    each may only be used where no other box is near (K,)."""
    x1, y1, x2, y2 = (int(round(v)) for v in np.clip(box, -1e6, 1e6))
    labels, options, alone = [], [], []
    for option, (label_width, label_height) in enumerate(sizes_wh):
        # Outlines run 1-2 pixels outside the box; the label starts on them.
        spots = [(x1 - 1, y1 - label_height), (x2 + 1 - label_width, y1 - label_height), (x1 - 1, y2)]
        if label_width * label_height <= _MAX_OWN_SHARE * area:
            spots.append((x1, y1))
        for left, top in spots:
            if left >= 0 and top >= 0 and left + label_width <= width and top + label_height <= height:
                labels.append((left, top, left + label_width, top + label_height))
                options.append(option)
                alone.append(area < _MIN_BOX_PER_LABEL * label_width * label_height)
    return np.array(labels, np.float64).reshape(-1, 4), options, np.array(alone, bool)


def _overlap_areas(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area shared by each of (K, 4) xyxy boxes and each of (M, 4) others -> (K, M)."""
    sides = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    return sides.clip(min=0).prod(axis=-1)
