"""Whether an exported detector gives the boxes of the one that it was made from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Found(NamedTuple):
    """Detections of one image: boxes (n, 4) xyxy in pixels, scores (n,) and labels (n,)."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Limits(NamedTuple):
    """What counts as equal.

    Attributes:
        box_px: largest difference of a coordinate, in pixels of the image.
        box_share: the same as a share of the box's longer side; the larger of the two limits holds.
        score: largest difference of two scores.
        matched: least share of the boxes, of both sides together, that have a partner.
        numbers: largest difference of the numbers of boxes, as a share.
        raw: largest difference of a raw output: root of the mean square, as a share of that of the output.
    """

    box_px: float
    box_share: float
    score: float
    matched: float
    numbers: float
    raw: float


# In fp32 the boxes are the same, but for those whose scores tie at the limit or the threshold, or whose overlaps tie in the NMS.
LIMITS = {
    'fp32': Limits(1e-3, 0.0, 1e-3, 0.97, 0.02, 1e-4),
    'fp16': Limits(1.0, 0.02, 0.02, 0.95, 0.05, 1e-2),
    'bf16': Limits(2.0, 0.05, 0.05, 0.90, 0.10, 5e-2),
    'int8': Limits(4.0, 0.15, 0.15, 0.75, 0.25, 3e-1),
}

# Boxes of detectors with queries are fractions of the input, refined by several layers: their last bits are a share of its sides, not of the box's.
QUERY_BOX_PX = 1e-2


@dataclass
class Parity:
    """Figures of a comparison.

    Attributes:
        precision: of the exported detector; its limits hold.
        images, expected, found: images that were compared, and boxes of the original and of the exported detector in them.
        matched: boxes of the original that have a partner within the limits.
        box_px, score: largest differences between partners.
        raw: for raw outputs, the largest difference, see :class:`Limits`; then there are no boxes.
        source: what the images were.
        reasons: why the check failed; empty where it passed.
        limits: that hold.
    """

    precision: str
    images: int = 0
    expected: int = 0
    found: int = 0
    matched: int = 0
    box_px: float = 0.0
    score: float = 0.0
    raw: float | None = None
    source: str = ''
    reasons: list[str] = field(default_factory=list)
    limits: Limits = LIMITS['fp32']

    @property
    def share(self) -> float:
        """Share of the boxes of both sides that have a partner; 1 where there are none."""
        return 2 * self.matched / (self.expected + self.found) if self.expected + self.found else 1.0

    @property
    def passed(self) -> bool:
        """Whether the exported detector may be used in place of the original."""
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """The figures for the manifest, with the limits that they were compared with."""
        limits = self.limits
        if self.raw is not None:
            figures: dict[str, Any] = dict(
                raw_difference=self.raw if math.isfinite(self.raw) else None, limits=dict(raw_difference=limits.raw)
            )
        else:
            figures = dict(
                boxes_before=self.expected, boxes_after=self.found, matched_share=round(self.share, 5),
                largest_box_difference_px=self.box_px, largest_score_difference=self.score,
                limits=dict(box_px=limits.box_px, box_share=limits.box_share, score=limits.score,
                            matched_share=limits.matched, count_share=limits.numbers),
            )  # fmt: skip
        return dict(passed=self.passed, images=self.images, image_source=self.source, **figures, reasons=self.reasons)

    def __str__(self) -> str:
        limits, verdict = self.limits, 'passed' if self.passed else 'FAILED'
        if self.raw is not None:
            text = f'raw outputs differ by {self.raw:.1e} of their size (limit {limits.raw:.0e})'
        else:
            text = (
                f'{self.matched} of {self.expected} boxes have a partner among {self.found} (share {self.share:.2%}, at least {limits.matched:.0%}), '
                f'they differ by up to {self.box_px:.2g} px and {self.score:.2g} in score'
            )
        return '\n  '.join([f'parity {verdict} on {self.images} images ({self.source}): {text}', *self.reasons])


def compare(
    pairs: Iterable[tuple[Found, Found]], precision: str, source: str = '', limits: Limits | None = None
) -> Parity:
    """Compare the detections of the original and of the exported detector.

    Each box of the original, by descending score, takes the box of its label that overlaps it most and is not yet taken. They are partners if they
    overlap by half and differ by no more than the limits of the precision.

    Args:
        pairs: for each image what was expected and what was found.
        precision: of the exported detector.
        source: what the images were.
        limits: instead of those of the precision.
    """
    limits = limits or LIMITS[precision]
    parity = Parity(precision, source=source, limits=limits)
    for expected, found in pairs:
        parity.images += 1
        parity.expected += len(expected.boxes)
        parity.found += len(found.boxes)
        overlaps = _overlaps(expected.boxes, found.boxes) * (expected.labels[:, None] == found.labels[None])
        for row in np.argsort(-expected.scores, kind='stable'):
            if not overlaps.shape[1] or overlaps[row].max() < 0.5:
                continue
            # Of several that overlap as much, as where a corner is on the border of the image, the one with the nearest score.
            best = np.flatnonzero(overlaps[row] >= overlaps[row].max() - 1e-6)
            column = best[np.abs(found.scores[best] - expected.scores[row]).argmin()]
            distance = float(np.abs(expected.boxes[row] - found.boxes[column]).max())
            gap = float(abs(expected.scores[row] - found.scores[column]))
            side = float((expected.boxes[row, 2:] - expected.boxes[row, :2]).max())
            if distance <= max(limits.box_px, limits.box_share * side) and gap <= limits.score:
                parity.matched += 1
                parity.box_px, parity.score = max(parity.box_px, distance), max(parity.score, gap)
                overlaps[:, column] = 0
    if not parity.expected + parity.found:
        parity.reasons.append(
            'neither detector found a box, so nothing was compared: give images with objects, or trained weights'
        )
    if parity.share < limits.matched:
        parity.reasons.append(f'{parity.share:.2%} of the boxes have a partner, and must be {limits.matched:.0%}')
    if abs(parity.expected - parity.found) > max(1, math.ceil(limits.numbers * parity.expected)):
        parity.reasons.append(f'{parity.found} boxes instead of {parity.expected}')
    return parity


def compare_raw(pairs: Iterable[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]], precision: str, source: str = '') -> Parity:  # fmt: skip
    """As :func:`compare` for raw outputs: for each image the arrays that were expected, and those that were found."""
    parity = Parity(precision, source=source, raw=0.0, limits=LIMITS[precision])
    for expected, found in pairs:
        parity.images += 1
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            if one.shape != other.shape:
                parity.reasons.append(f'output {number} has the shape {other.shape} instead of {one.shape}')
                return parity
            scale = max(float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))), 1e-6)
            difference = float(np.sqrt(np.mean(np.square(one.astype(np.float64) - other)))) / scale
            parity.raw = max(parity.raw or 0.0, difference if math.isfinite(difference) else math.inf)
    if (parity.raw or 0.0) > LIMITS[precision].raw:
        parity.reasons.append(f'the raw outputs differ by {parity.raw:.1e} of their size, and may by {LIMITS[precision].raw:.0e}')  # fmt: skip
    return parity


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (n, m) of boxes (n, 4) and (m, 4)."""
    upper, lower = (
        np.maximum(boxes[:, None, :2], others[None, :, :2]),
        np.minimum(boxes[:, None, 2:], others[None, :, 2:]),
    )
    common = np.clip(lower - upper, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others)]
    return np.nan_to_num(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9))


def metrics_table(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Lines with the AP values that both have, in percent, and their differences."""
    names = [name for name, value in before.items() if name in after and '_mAP' in name and value > -1]
    return [f'{name:<28} {100 * before[name]:7.2f} {100 * after[name]:7.2f} {100 * (after[name] - before[name]):+7.2f}' for name in names]  # fmt: skip
