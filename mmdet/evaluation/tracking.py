"""Scores of tracks against ground truth: MOTA, IDF1, HOTA and what they consist of, computed by the package ``trackers`` (TrackEval's rules).

Before that, objects and results of which at least half lies in ignored regions are left out, as VisDrone's toolkit leaves them out of its annotations
(Zhu et al., "Detection and Tracking Meet Drones Challenge", TPAMI 2021). Classes are scored one by one, and the sums of all give the total, also as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..formats.tables import BoxTable
from ..formats.tracks import UNKNOWN, TrackedSequence, Tracks
from .visdrone_eval import in_ignored_regions

# Name in the library, heading, and whether it is a share.
FIGURES = (
    ('MOTA', 'MOTA', True), ('IDF1', 'IDF1', True), ('HOTA', 'HOTA', True), ('DetA', 'DetA', True), ('AssA', 'AssA', True), ('MOTP', 'MOTP', True),
    ('CLR_Re', 'recall', True), ('CLR_Pr', 'precision', True), ('IDSW', 'switches', False), ('Frag', 'breaks', False), ('MT', 'MT', False),
    ('ML', 'ML', False), ('CLR_FP', 'FP', False), ('CLR_FN', 'FN', False), ('objects', 'objects', False), ('tracks', 'tracks', False),
)  # fmt: skip


@dataclass
class TrackScores:
    """Scores of some sequences.

    Attributes:
        total: figures over all sequences and classes, by the names of :data:`FIGURES`; shares in 0..1.
        sequences, classes: the same of each sequence, and of each class over all sequences.
        dropped_truth, dropped_results: boxes left out as they lie in ignored regions.
        late: result boxes after the last frame of their sequence, left out.
        other: result boxes of classes that are not scored, left out.
        missing: sequences without results.
    """

    total: dict[str, float]
    sequences: dict[str, dict[str, float]]
    classes: dict[str, dict[str, float]]
    dropped_truth: int = 0
    dropped_results: int = 0
    late: int = 0
    other: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass
class _Part:
    """The library's counts of one class in one sequence."""

    sequence: str
    label: int
    counts: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # CLEAR, identity, HOTA
    objects: int
    tracks: int


def evaluate_tracks(
    truths: Sequence[TrackedSequence],
    results: Mapping[str, Tracks],
    *,
    classes: Sequence[str] | None = None,
    iou_thr: float = 0.5,
    agnostic: bool = False,
) -> TrackScores:
    """Score the tracks of some sequences.

    Args:
        truths: ground truth.
        results: tracks by the name of the sequence; one without has found nothing.
        classes: names of the classes that are scored; None scores all that occur in the ground truth.
        iou_thr: least IoU of a box with its object, for all but HOTA, which takes 19 of them.
        agnostic: take all classes that are scored as one; so it is anyway where the ground truth has no classes.

    Raises:
        ConfigError: a class that the ground truth does not know, results without classes where they are needed, or the package ``trackers`` is missing.
    """
    if not 0 < iou_thr <= 1:
        raise ConfigError('must be in (0, 1]', field='iou_thr', received=iou_thr)
    _library()
    scores = TrackScores({}, {}, {}, missing=[truth.name for truth in truths if truth.name not in results])
    parts: list[_Part] = []
    names: tuple[str, ...] = truths[0].classes if truths else ()
    for truth in truths:
        labels = _scored(truth, classes)
        empty = Tracks([], [], [], [])
        own = truth.tracks if labels is None else truth.tracks[np.isin(truth.tracks.label, labels)]
        found = results.get(truth.name, empty)
        is_late = found.image >= truth.num_frames
        scores.late += int(is_late.sum())
        found = found[~is_late]
        if labels is not None and not agnostic and (found.label == UNKNOWN).any():
            message = 'has no classes (eighth column -1), and the ground truth has; give agnostic, or write the tracks with classes'
            raise ConfigError(message, field='results', received=truth.name)
        if labels is not None and (found.label != UNKNOWN).any():
            is_other = ~np.isin(found.label, labels)
            scores.other += int(is_other.sum())
            found = found[~is_other]
        own, dropped = _outside(own, truth)
        scores.dropped_truth += dropped
        found, dropped = _outside(found, truth)
        scores.dropped_results += dropped
        groups = [UNKNOWN] if labels is None or agnostic else sorted({*own.label.tolist(), *found.label.tolist()})
        for label in groups:
            pair = (own, found) if label == UNKNOWN else (own[own.label == label], found[found.label == label])
            parts.append(_part(truth.name, label, *pair, truth.num_frames, iou_thr))
    scores.total = _figures(parts)
    scores.sequences = {
        truth.name: _figures([part for part in parts if part.sequence == truth.name]) for truth in truths
    }
    labels_found = sorted({part.label for part in parts} - {UNKNOWN})
    scores.classes = {names[k]: _figures([part for part in parts if part.label == k]) for k in labels_found}
    return scores


def _scored(truth: TrackedSequence, classes: Sequence[str] | None) -> list[int] | None:
    """Labels that are scored; None where there are no classes."""
    if not truth.classes:
        if classes:
            raise ConfigError(
                'this ground truth has no classes', file=truth.source, field='classes', received=[*classes]
            )
        return None
    if strangers := [name for name in classes or () if name not in truth.classes]:
        raise ConfigError(f'must be some of {truth.classes}', field='classes', received=strangers)
    return [label for label, name in enumerate(truth.classes) if classes is None or name in classes]


def _outside(tracks: Tracks, truth: TrackedSequence) -> tuple[Tracks, int]:
    """The boxes outside the ignored regions, and how many are inside."""
    frames = max(truth.num_frames, int(tracks.image.max(initial=-1)) + 1)
    sizes_wh = np.broadcast_to(np.array(truth.size_wh, np.int64), (frames, 2))
    inside = in_ignored_regions(BoxTable(tracks.image, tracks.label, tracks.bbox), truth.regions, sizes_wh)
    return tracks[~inside], int(inside.sum())


def _library() -> Any:
    try:
        from trackers import eval as library
    except Exception as error:  # a broken installation raises what it likes
        message = f"scores of tracks need the package trackers ({error}): pip install 'mmdet-dense[tracking]'"
        raise ConfigError(message, field='trackers') from error
    return library


def _part(sequence: str, label: int, truth: Tracks, found: Tracks, num_frames: int, iou_thr: float) -> _Part:
    library = _library()
    sides = []
    for tracks in (truth, found):
        order = np.lexsort((tracks.number, tracks.image))
        ends = np.searchsorted(tracks.image[order], np.arange(1, num_frames))
        # The library counts ids from 0.
        numbers = np.unique(tracks.number, return_inverse=True)[1].reshape(-1)[order]
        sides.append((np.split(numbers, ends), np.split(tracks.bbox[order], ends)))
    (own_ids, own_boxes), (found_ids, found_boxes) = sides
    overlaps = [library.box_iou(a, b, box_format='xywh') for a, b in zip(own_boxes, found_boxes)]
    counts = (
        library.compute_clear_metrics(own_ids, found_ids, overlaps, threshold=iou_thr),
        library.compute_identity_metrics(own_ids, found_ids, overlaps, threshold=iou_thr),
        library.compute_hota_metrics(own_ids, found_ids, overlaps),
    )
    return _Part(sequence, label, counts, len(np.unique(truth.number)), len(np.unique(found.number)))


def _figures(parts: Sequence[_Part]) -> dict[str, float]:
    """The figures of the sums over some parts."""
    library = _library()
    merged: dict[str, Any] = dict(
        objects=sum(part.objects for part in parts), tracks=sum(part.tracks for part in parts)
    )
    for place, family in enumerate(('clear', 'identity', 'hota')):
        merged.update(getattr(library, f'aggregate_{family}_metrics')([part.counts[place] for part in parts]))
    return {name: float(merged[name]) for name, _, _ in FIGURES}


def score_table(scores: TrackScores) -> str:
    """All figures as a table of text, shares in percent."""
    rows = [(name, figures) for name, figures in scores.sequences.items()] if len(scores.sequences) > 1 else []
    rows += [(f'class {name}', figures) for name, figures in scores.classes.items()]
    rows.append(('all', scores.total))
    width = max(len(name) for name, _ in rows)
    heads = [heading for _, heading, _ in FIGURES]
    lines = [f'{"":{width}}  ' + '  '.join(f'{head:>{max(len(head), 6)}}' for head in heads)]
    for name, figures in rows:
        cells = [f'{100 * figures[key]:.2f}' if is_share else f'{figures[key]:.0f}' for key, _, is_share in FIGURES]
        lines.append(f'{name:{width}}  ' + '  '.join(f'{c:>{max(len(h), 6)}}' for c, h in zip(cells, heads)))
    return '\n'.join(lines)


def score_notes(scores: TrackScores) -> list[str]:
    """What was left out, as lines."""
    notes = [
        (scores.dropped_truth, 'boxes of the ground truth lie in ignored regions and do not count'),
        (scores.dropped_results, 'boxes of the results lie in ignored regions and do not count'),
        (scores.late, 'boxes of the results come after the last frame of the ground truth and do not count'),
        (scores.other, 'boxes of the results are of classes that are not scored'),
    ]
    lines = [f'{count} {text}' for count, text in notes if count]
    return lines + [f'no results for {name}: all its objects are missed' for name in scores.missing]
