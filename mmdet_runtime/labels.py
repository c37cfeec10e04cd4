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
_PAIRS = 1 << 17  # of boxes that are compared at once, so that the memory stays small
_TOO_LARGE = 1 << 20  # of a label, for any image


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
    order = np.argsort(-areas, kind='stable')
    step = max(_PAIRS // max(len(boxes), 1), 1)
    for start in range(0, len(boxes), step):
        chunk = order[start : start + step]
        labels, fits = _candidates(boxes, areas, chunk, [sizes_wh[index] for index in chunk], image_wh)
        for index, spots, free in zip(chunk.tolist(), labels.tolist(), fits):
            for k in np.flatnonzero(free).tolist():
                left, top, right, bottom = spots[k]
                if not taken[top:bottom, left:right].any():
                    taken[top:bottom, left:right] = True
                    places[index] = (k // 4, left, top)
                    break
    return places


def _candidates(
    boxes: np.ndarray,
    areas: np.ndarray,
    chunk: np.ndarray,
    sizes_wh: Sequence[Sequence[tuple[int, int]]],
    image_wh: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Label rectangles (C, 4 P, 4) xyxy of the boxes of a chunk (C), four for each of P sizes, in order of preference, and (C, 4 P) whether each lies on the
    image and hides nothing that matters of the other boxes."""
    sizes = np.full((len(chunk), max(map(len, sizes_wh), default=0), 2), _TOO_LARGE)
    for row, given in zip(sizes, sizes_wh):
        if len(given):
            row[: len(given)] = given
    w, h = sizes[..., 0], sizes[..., 1]  # (C, P)
    x1, y1, x2, y2 = np.rint(boxes[chunk].clip(-1e6, 1e6)).astype(np.int64).T[:, :, None]
    # Outlines run 1-2 pixels outside the box; the label starts on them.
    left = np.stack([x1 - 1 + 0 * w, x2 + 1 - w, x1 - 1 + 0 * w, x1 + 0 * w], axis=-1)
    top = np.stack([y1 - h, y1 - h, y2 + 0 * h, y1 + 0 * h], axis=-1)
    right, bottom = left + w[..., None], top + h[..., None]
    fits = (left >= 0) & (top >= 0) & (right <= image_wh[0]) & (bottom <= image_wh[1])  # (C, P, 4)
    fits[..., 3] &= w * h <= _MAX_OWN_SHARE * areas[chunk, None]
    # Whether each may only be used where no other box is near.
    alone = (areas[chunk, None] < _MIN_BOX_PER_LABEL * w * h)[..., None]
    margin = np.where(alone, h[..., None], 0)
    low, high = np.stack([left - margin, top - margin]), np.stack([right + margin, bottom + margin])  # (2, C, P, 4)
    # Only boxes near a box can lie under its labels.
    far = 4 * _TOO_LARGE
    lows, highs = (
        np.where(fits, low, far).min(axis=(2, 3), initial=far),
        np.where(fits, high, -far).max(axis=(2, 3), initial=-far),
    )
    near = (boxes[:, 0] < highs[0, :, None]) & (boxes[:, 2] > lows[0, :, None])  # (C, N)
    near &= (boxes[:, 1] < highs[1, :, None]) & (boxes[:, 3] > lows[1, :, None])
    near[np.arange(len(chunk)), chunk] = False
    own, other = np.nonzero(near)
    if len(own):
        first, last = boxes[other, :2].T[..., None, None], boxes[other, 2:].T[..., None, None]
        shared = (
            (np.minimum(high[:, own], last) - np.maximum(low[:, own], first)).clip(min=0).prod(axis=0)
        )  # (pairs, P, 4)
        hides = shared > np.where(alone[own], 0, _MAX_HIDDEN_SHARE) * areas[other, None, None]
        ones, starts = np.unique(own, return_index=True)
        fits[ones] &= ~np.logical_or.reduceat(hides, starts, axis=0)
    labels = np.stack([left, top, right, bottom], axis=-1)
    return labels.reshape(len(chunk), -1, 4), fits.reshape(len(chunk), -1)
