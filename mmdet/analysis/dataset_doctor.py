"""Examines a data set before it is trained on: what is in it, what is wrong with it, and what to do; as one page and a JSON file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from mmengine.config import Config

from ..formats.image_files import ImageFolder
from .dataset_checks import check_boxes, check_classes, check_images, check_records, check_refusals
from .dataset_crowds import crowd, query_limits
from .dataset_findings import ERROR, Example, Findings, Verdict
from .dataset_images import ImageFacts, scan_images
from .dataset_inputs import InputSize, SizeShares, input_sizes, sample_boxes, size_shares, stage_size
from .dataset_priors import (
    COVERAGE_IMAGES,
    LAST_BIN_SHARE,
    UNMATCHED_SHARE,
    Coverage,
    coverage,
    coverage_advice,
    head_settings,
    try_alternatives,
)
from .dataset_reading import DatasetPart
from .dataset_tiles import FOREGROUND_SHARE, TileAdvice, tile_advice

_WITHOUT_SIZES = ('normalised', 'corner_boxes')  # findings after which the sizes of boxes mean nothing


@dataclass
class Examination:
    """What was found.

    Attributes:
        parts: the data set as it was read.
        sizes: for each part (I, 2) widths and heights of the images as they are, 0 where unknown.
        facts: of the image files, by path; empty where there are none at hand.
        verdicts: by severity; empty for clean data.
        shares: of small, medium and large objects, by part and input size.
        coverages: what the assigners of the config's heads make of the boxes.
        tiles: for each part with known sizes, whether tiles would help, by its name.
    """

    parts: list[DatasetPart]
    sizes: list[np.ndarray]
    facts: dict[str, ImageFacts]
    verdicts: list[Verdict]
    shares: list[SizeShares] = field(default_factory=list)
    coverages: list[Coverage] = field(default_factory=list)
    tiles: dict[str, tuple[InputSize, TileAdvice]] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        return any(verdict.severity == ERROR for verdict in self.verdicts)

    def summary(self) -> str:
        """The verdict lines as text, with what to do below each."""
        if not self.verdicts:
            return 'OK: nothing was found.'
        return '\n'.join(f'{verdict.severity}: {verdict.text}\n    {verdict.advice}' for verdict in self.verdicts)


def examine(
    parts: Sequence[DatasetPart],
    *,
    config: Config | None = None,
    input_size: InputSize | None = None,
    workers: int = 0,
    pixels: bool = True,
) -> Examination:
    """Examine what :mod:`~mmdet.analysis.dataset_reading` has read.

    Args:
        parts: at least one.
        config: the heads of its model, and the queries of its detectors, are compared with the boxes.
        input_size: the size at which objects are judged; None takes those of the pipelines, or mmdetection's usual 1333 x 800.
        workers: processes that read the images; 0 reads them in this one.
        pixels: read the pixels of the images, not only their headers.
    """
    parts = list(parts)
    findings = Findings()
    present, missing = _files(parts)
    facts = scan_images(present, workers=workers, pixels=pixels)
    check_records(parts, facts, findings)
    check_classes(parts, findings)
    sizes = check_images(parts, facts, missing, findings)
    _hint_names(parts, missing, findings)
    check_boxes(parts, sizes, findings)
    check_refusals(parts, findings)
    found = Examination(parts, sizes, facts, [])
    spoiled = {name for verdict in findings.verdicts() if verdict.code in _WITHOUT_SIZES for name in verdict.counts}
    _add_fit(found, findings, config, input_size, spoiled)
    _add_crowds(found, findings, config, spoiled)
    found.verdicts = findings.verdicts()
    return found


def _files(parts: Sequence[DatasetPart]) -> tuple[list[str], list[list[int]]]:
    """Paths of the images that are there, and for each part the images that are not."""
    present: list[str] = []
    missing: list[list[int]] = []
    for part in parts:
        absent = []
        local = part.image_root is not None and '://' not in part.image_root
        for image in range(len(part.file_names)) if local else ():
            path = part.path_of(image)
            if path is not None and os.path.isfile(path):
                present.append(path)
            else:
                absent.append(image)
        missing.append(absent)
    return present, missing


def _hint_names(parts: Sequence[DatasetPart], missing: Sequence[Sequence[int]], findings: Findings) -> None:
    """Say of missing files if they lie in the folder under names that could be meant."""
    for part, absent in zip(parts, missing):
        if absent and part.image_root and os.path.isdir(part.image_root):
            folder = ImageFolder(part.image_root)
            names = [part.file_names[image] for image in absent]
            meant = [(name, other) for name in names if (other := folder.find(name))]
            if meant:
                text = (
                    f'{len(meant):,} of them lie in the folder under other names ({meant[0][0]!r} is {meant[0][1]!r}).'
                )
                findings.detail('missing_files', text)


def _add_fit(
    found: Examination, findings: Findings, config: Config | None, input_size: InputSize | None, spoiled: set[str]
) -> None:
    """Sizes of objects, priors of the config's heads, tiles."""
    measured = []
    for part, sizes_wh in zip(found.parts, found.sizes):
        rows = part.counted & (part.bbox[:, 2:] > 0).all(axis=1)
        if part.name in spoiled or not rows.any():
            continue
        found.shares.append(size_shares(part.name, 'pixels of the file', part.bbox[rows, 2:]))
        known = np.asarray(np.all(sizes_wh > 0, axis=1))
        rows &= known[part.image]
        if not rows.any():
            continue
        scales = [input_size] if input_size is not None else input_sizes(part.pipeline)
        staged = stage_size(config.get('model')) if config is not None else None
        if staged is not None and all(scale.resize is None for scale in scales):
            scales = [staged]
        for scale in scales:
            sides = part.bbox[rows, 2:] * scale.factors(sizes_wh)[part.image[rows]]
            found.shares.append(size_shares(part.name, scale.label, sides))
        found.tiles[part.name] = scales[-1], tile_advice(part.bbox[rows], part.image[rows], sizes_wh, scales[-1])
        measured.append((part, sizes_wh, rows, scales))
    _add_tiles(found, findings)
    training = [row for row in measured if 'train' in row[0].split] or measured
    for settings in head_settings(config.get('model')) if config is not None else ():
        for part, sizes_wh, rows, scales in training:
            own = []
            for scale in scales:
                sample = sample_boxes(part.bbox[rows], part.image[rows], sizes_wh, scale, COVERAGE_IMAGES)
                one = coverage(settings, sample, f'{part.name}, {scale.label}')
                if one.beyond_share > LAST_BIN_SHARE or one.unmatched_share > UNMATCHED_SHARE:
                    try_alternatives(one, sample)
                own.append(one)
            found.coverages.extend(own)
            # What is beyond the last bin at one of the sizes is trained wrongly there; only what is unmatched at all of them is never trained on.
            _add_coverage(findings, 'last_bin', part.name, max(own, key=lambda one: one.beyond_share))
            _add_coverage(findings, 'unmatched', part.name, min(own, key=lambda one: one.unmatched_share))


def _add_crowds(found: Examination, findings: Findings, config: Config | None, spoiled: set[str]) -> None:
    """Images whose objects are more than the queries of the config's detectors."""
    for limit in query_limits(config.get('model')) if config is not None else ():
        for number, (part, sizes_wh) in enumerate(zip(found.parts, found.sizes)):
            if part.name in spoiled:
                continue
            rows = part.counted & (part.bbox[:, 2:] > 0).all(axis=1)
            objects = part.bbox[rows], part.image[rows], sizes_wh
            views = crowd(limit, *objects)
            name = f'{part.name} ({limit.stage})' if limit.stage else part.name
            detail = f'{name}: {views.text(limit, int(rows.sum()))}'
            advised = found.tiles.get(part.name)
            if not limit.stage and advised is not None and advised[1].tile:
                tiles = limit.on_tiles(advised[1].tile, advised[1].overlap)
                detail += f' In {tiles.view} of these images there are at most {crowd(tiles, *objects).largest:,}.'
            examples = (Example(number, image) for image in views.images)
            findings.add('crowded', name, len(views.images), detail=detail, examples=examples)


def _add_coverage(findings: Findings, code: str, name: str, one: Coverage) -> None:
    if code == 'last_bin':
        count, share, limit, bins = one.any_beyond, one.beyond_share, LAST_BIN_SHARE, f' (reg_max={one.head.reg_max})'
    else:
        count, share, limit, bins = one.unmatched, one.unmatched_share, UNMATCHED_SHARE, ''
    if share > limit:
        detail = f'{one.head.name}{bins}: {share:.1%} of {one.boxes:,} boxes of {one.size}.'
        findings.add(code, name, count, detail=detail, advice=coverage_advice(one, code))


def _add_tiles(found: Examination, findings: Findings) -> None:
    helped = {name: row for name, row in found.tiles.items() if row[1].tile}
    if not helped:
        return
    boxes = {part.name: int(part.counted.sum()) for part in found.parts}
    # Tiles are cut in testing: the advice is that of a test set where there is one.
    _, advice = helped[max(helped, key=lambda name: ('train' not in name, boxes[name]))]
    foreground = advice.foreground or 0.0
    text = (
        f'Detect on tiles of {advice.tile} x {advice.tile} pixels, overlap {advice.overlap:g} (SlicedDet: tile_wh=({advice.tile}, {advice.tile})), '
        f'each resized by {advice.zoom:.1f}, and train on crops of this size. '
    )
    if foreground <= FOREGROUND_SHARE:
        text += f'The objects lie within {foreground:.0%} of the image: UFPMP-Det, which enlarges these regions only, suits the data, too.'
    else:
        text += f'The regions around the objects take {foreground:.0%} of the image: UFPMP-Det would enlarge nearly as much as tiles do.'
    for name, (size, one) in helped.items():
        count = round(one.small_share * boxes[name])
        detail = f'{name}: {one.small_share:.0%} of the objects are below 32 x 32 pixels at {size.label}.'
        findings.add('slicing', name, count, detail=detail, advice=text)
