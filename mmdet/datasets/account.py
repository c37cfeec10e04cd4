"""The account of a data set: how many images and boxes it uses, and why it leaves out the others.

A box has one fate, the first of :data:`REASONS` that holds for it; :func:`fates_of_boxes` is the one judge for all data sets. What a training's
augmentation drops or cuts (crops, ``FilterAnnotations``) is not part of the account.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..errors import ConfigError
from ..utils.checks import is_number

USED = 0
REASONS = (
    'used', 'unknown class', 'ignored or crowd', 'no area', 'too small', 'outside the image', 'within border_margin', 'no mask',
)  # fmt: skip
UNKNOWN_CLASS, IGNORED, NO_AREA, TOO_SMALL, OUTSIDE, IN_MARGIN, NO_MASK = range(1, len(REASONS))
# Of boxes, by the fate of their image.
FILTERED_IMAGE, UNREADABLE_IMAGE, UNSELECTED_IMAGE = (
    'in a filtered image', 'in an unreadable image', 'in an image outside indices',
)  # fmt: skip
# Of images.
UNREADABLE, UNSELECTED, FILTERED, UNANNOTATED = (
    'missing or broken image file', 'outside indices', 'filtered', 'without an annotation file',
)  # fmt: skip
CUT = 'boxes that reach beyond the border of their image (kept)'
# Edges that lie this much outside are rounding errors of decimal fractions, in pixels.
_TOLERANCE = 0.01


@dataclass
class BoxAccount:
    """How many images and boxes a data set uses, and how many it leaves out, by reason.

    Attributes:
        source: the data set and its annotations, for the text.
        images, boxes: in the annotations.
        images_left_out, left_out: images and boxes that are not used, by reason. A box is left out with its image, for a reason of its own. Boxes
            that are ignored, crowds among them, count as left out: they are no objects to be found.
        notes: what is used but worth knowing, as text -> count: boxes beyond the border, repeated images.
    """

    source: str = ''
    images: int = 0
    boxes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    images_left_out: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def images_used(self) -> int:
        """Images of the data set."""
        return self.images - sum(self.images_left_out.values())

    @property
    def boxes_used(self) -> int:
        """Boxes that are objects of the data set's images."""
        return self.boxes - sum(self.left_out.values())

    @property
    def share_left_out(self) -> float:
        """Share of the boxes, 0..1, that is left out; 0 where there is no box."""
        return sum(self.left_out.values()) / self.boxes if self.boxes else 0.0

    def add_fates(self, fates: np.ndarray) -> None:
        """Count boxes and those left out; ``fates`` (n,) are indices of :data:`REASONS`."""
        self.boxes += len(fates)
        for reason, count in zip(REASONS[1:], np.bincount(fates, minlength=len(REASONS))[1:].tolist()):
            self.leave_out(reason, count)

    def leave_out(self, reason: str, count: int) -> None:
        """Count boxes that are left out."""
        _count(self.left_out, reason, count)

    def leave_out_images(self, reason: str, count: int) -> None:
        """Count images that are left out."""
        _count(self.images_left_out, reason, count)

    def note(self, text: str, count: int) -> None:
        """Count what is used but worth knowing."""
        _count(self.notes, text, count)

    def add(self, other: 'BoxAccount') -> None:
        """Add the counts of another account."""
        self.images += other.images
        self.boxes += other.boxes
        for own, its in (
            (self.left_out, other.left_out), (self.images_left_out, other.images_left_out), (self.notes, other.notes),
        ):  # fmt: skip
            for key, count in its.items():
                _count(own, key, count)

    def copy(self) -> 'BoxAccount':
        """An account of its own with the same counts."""
        return BoxAccount(
            self.source, self.images, self.boxes, dict(self.left_out), dict(self.images_left_out), dict(self.notes)
        )

    def text(self) -> str:
        """The lines that are logged at the start: what is used, what is left out and why, what is worth knowing."""
        head = f'{self.source}: ' if self.source else ''
        used = f'uses {self.images_used} of {self.images} images and {self.boxes_used} of {self.boxes} boxes'
        lines = [f'{head}{used}']
        for what, counts in (('images', self.images_left_out), ('boxes', self.left_out)):
            if counts:
                lines.append(f'  {what} left out: {_listed(counts)}')
        lines += [f'  {text}: {count}' for text, count in self.notes.items()]
        return '\n'.join(lines)

    def warning(self, limit: float) -> str | None:
        """The warning about a share of boxes left out above ``limit``, with the reasons by size; None below it."""
        if self.share_left_out <= limit:
            return None
        share = f'{self.boxes - self.boxes_used} of {self.boxes} boxes ({self.share_left_out:.1%}) are left out'
        return f'{share}, more than warn_left_out={limit:g}: {_listed(self.left_out)}'


def _count(counts: dict[str, int], key: str, count: int) -> None:
    if count:
        counts[key] = counts.get(key, 0) + int(count)


def _listed(counts: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {reason}' for reason, count in sorted(counts.items(), key=lambda item: -item[1]))


def say_account(account: BoxAccount, warnings: Sequence[str | None]) -> None:
    """Log an account, and the warnings that go with it."""
    print_log(account.text(), logger='current')
    for text in warnings:
        if text:
            print_log(f'{account.source}: {text}', logger='current', level=logging.WARNING)


def say_filters(transforms: Iterable[Any]) -> None:
    """Log that a pipeline leaves out boxes of each sample, which no account of the files can count."""
    for transform in transforms:
        if type(transform).__name__ == 'FilterAnnotations':
            print_log(f'  further boxes are left out of each sample, by {transform}', logger='current')


def check_share(value: Any) -> float:
    """``warn_left_out`` of a config; ConfigError where it is no number in 0..1."""
    if not (is_number(value) and 0 <= value <= 1):
        raise ConfigError('must be a share of the boxes, 0 to 1', field='warn_left_out', received=value)
    return value


def fates_of_boxes(
    bboxes_xywh: np.ndarray,
    sizes_wh: np.ndarray,
    *,
    unknown: np.ndarray | None = None,
    ignored: np.ndarray | None = None,
    border_margin: float | None = None,
) -> np.ndarray:
    """What becomes of each box: (n,) int64 indices of :data:`REASONS`, 0 for a box that is used.

    Args:
        bboxes_xywh: (n, 4) float, left, top, width, height in pixels. A used box is at least one pixel wide and high and overlaps its image.
        sizes_wh: (n, 2) width and height of each box's image.
        unknown: (n,) bool, the box is of none of the classes.
        ignored: (n,) bool, the box is marked as ignored or as a crowd.
        border_margin: see :class:`~mmdet.datasets.CocoDataset`.
    """
    x1, y1, w, h = bboxes_xywh.T
    width, height = sizes_wh.T
    fates = np.zeros(len(bboxes_xywh), dtype=np.int64)
    if border_margin is not None:
        fates[(x1 > width - border_margin) | (y1 > height - border_margin)] = IN_MARGIN
    fates[np.minimum(x1 + w, width) - np.maximum(x1, 0) <= 0] = OUTSIDE
    fates[np.minimum(y1 + h, height) - np.maximum(y1, 0) <= 0] = OUTSIDE
    fates[(w < 1) | (h < 1)] = TOO_SMALL
    fates[(w <= 0) | (h <= 0)] = NO_AREA
    if ignored is not None:
        fates[ignored] = IGNORED
    if unknown is not None:
        fates[unknown] = UNKNOWN_CLASS
    return fates


def suspect_rows(
    bboxes_xywh: np.ndarray, rows: np.ndarray, sizes_wh: np.ndarray, border_margin: float | None = None
) -> np.ndarray:
    """Rows of the images in which a box is left out because of the image's size.

    Args:
        bboxes_xywh, border_margin: see :func:`fates_of_boxes`.
        rows: (n,) row of each box's image.
        sizes_wh: (N, 2) sizes of the images.
    """
    fates = fates_of_boxes(bboxes_xywh, sizes_wh[rows], border_margin=border_margin)
    return np.unique(rows[(fates == OUTSIDE) | (fates == IN_MARGIN)])


def count_cut(bboxes_xywh: np.ndarray, sizes_wh: np.ndarray) -> int:
    """How many boxes (n, 4) reach beyond the border of their image (n, 2); they are kept, and clipped where a transform clips them."""
    low, high = bboxes_xywh[:, :2], bboxes_xywh[:, :2] + bboxes_xywh[:, 2:]
    return int(np.count_nonzero((low < -_TOLERANCE).any(axis=1) | (high > sizes_wh + _TOLERANCE).any(axis=1)))


def used_boxes(records: Iterable[Mapping]) -> list[int]:
    """How many boxes of each record are objects to be found, that is, not ignored."""
    return [sum(not instance.get('ignore_flag', 0) for instance in record.get('instances') or ()) for record in records]


def account_of(dataset: Any) -> BoxAccount:
    """The account of any data set: its own, or one of the records of a data set of other code, all of which count as used."""
    if hasattr(dataset, 'account'):
        return dataset.account()
    if not hasattr(dataset, 'get_data_info'):
        return BoxAccount(type(dataset).__name__, images=len(dataset))
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    boxes = sum(len(record.get('instances') or ()) for record in records)
    account = BoxAccount(type(dataset).__name__, images=len(records), boxes=boxes)
    account.leave_out(REASONS[IGNORED], boxes - sum(used_boxes(records)))
    return account


HOW_TO_FIND_THEM = 'Raise the number of queries where the weights allow it (num_queries), or divide the crowd: train on crops, detect on tiles.'


def object_counts(dataset: Any) -> np.ndarray:
    """(N,) int64 objects to be found in each image of any data set; images that a wrapper repeats count once, and the data of other code are read."""
    if hasattr(dataset, 'get_object_counts'):
        return dataset.get_object_counts()
    if not hasattr(dataset, 'get_data_info'):
        return np.zeros(0, np.int64)
    return np.array(used_boxes(dataset.get_data_info(index) for index in range(len(dataset))), np.int64)


def lost_objects(counts: np.ndarray, most: int) -> tuple[int, int]:
    """How many images have more objects than ``most``, and how many objects that is.

    >>> lost_objects(np.array([0, 3, 5, 9]), 4)
    (2, 6)
    """
    beyond = np.maximum(counts - most, 0)
    return int(np.count_nonzero(beyond)), int(beyond.sum())
