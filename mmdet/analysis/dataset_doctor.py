"""Examines a data set before it is trained on: what is in it, what is wrong with it, and what to do; as one page and a JSON file."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ..formats.image_files import ImageFolder
from ..utils.files import write_json
from ..utils.outputs import refuse_inputs
from .dataset_checks import check_boxes, check_classes, check_images, check_records, check_refusals, class_counts
from .dataset_findings import ERROR, Example, Findings, Verdict
from .dataset_fit import (
    FOREGROUND_SHARE,
    LAST_BIN_SHARE,
    UNMATCHED_SHARE,
    Coverage,
    InputSize,
    SizeShares,
    TileAdvice,
    coverage,
    coverage_advice,
    head_settings,
    input_sizes,
    sample_boxes,
    size_shares,
    stage_size,
    tile_advice,
    try_alternatives,
)
from .dataset_images import ImageFacts, scan_images
from .dataset_reading import DatasetPart

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
        config: its model's heads are compared with the boxes.
        input_size: the size at which objects are judged; None takes those of the pipelines, or mmdetection's usual 1333 x 800.
        workers: processes that read the images; 0 reads them in this one.
        pixels: read the pixels of the images, not only their headers.
    """
    parts = list(parts)
    findings = Findings()
    check_records(parts, findings)
    check_classes(parts, findings)
    present, missing = _files(parts)
    facts = scan_images(present, workers=workers, pixels=pixels)
    sizes = check_images(parts, facts, missing, findings)
    _hint_names(parts, missing, findings)
    check_boxes(parts, sizes, findings)
    check_refusals(parts, findings)
    found = Examination(parts, sizes, facts, [])
    spoiled = {name for verdict in findings.verdicts() if verdict.code in _WITHOUT_SIZES for name in verdict.counts}
    _add_fit(found, findings, config, input_size, spoiled)
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
            meant = [
                (part.file_names[image], name) for image in absent if (name := folder.find(part.file_names[image]))
            ]
            if meant:
                detail = (
                    f'{len(meant):,} of them lie in the folder under other names ({meant[0][0]!r} is {meant[0][1]!r}).'
                )
                findings.detail('missing_files', detail)


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
        rows &= (sizes_wh > 0).all(axis=1)[part.image]
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
                sample = sample_boxes(part.bbox[rows], part.image[rows], sizes_wh, scale)
                one = coverage(settings, sample, f'{part.name}, {scale.label}')
                if one.beyond_share > LAST_BIN_SHARE or one.unmatched_share > UNMATCHED_SHARE:
                    try_alternatives(one, sample)
                own.append(one)
            found.coverages.extend(own)
            # What is beyond the last bin at one of the sizes is trained wrongly there; only what is unmatched at all of them is never trained on.
            _add_coverage(findings, 'last_bin', part.name, max(own, key=lambda one: one.beyond_share))
            _add_coverage(findings, 'unmatched', part.name, min(own, key=lambda one: one.unmatched_share))


def _add_coverage(findings: Findings, code: str, name: str, one: Coverage) -> None:
    if code == 'last_bin':
        count, share, limit, bins = one.any_beyond, one.beyond_share, LAST_BIN_SHARE, f' (reg_max={one.head.reg_max})'
    else:
        count, share, limit, bins = one.unmatched, one.unmatched_share, UNMATCHED_SHARE, ''
    if share > limit:
        detail = f'{one.head.name}{bins}: {share:.1%} of {one.boxes:,} boxes of {one.size}.'
        findings.add(code, name, count, detail=detail, advice=_sentence(coverage_advice(one, code)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


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


# ---------------------------------------------------------------------------------------------------------- output


def as_json(found: Examination, title: str) -> dict[str, Any]:
    """Everything, for the JSON file."""
    return dict(
        title=title,
        ok=not found.verdicts,
        verdicts=[
            {
                **verdict.as_dict(),
                'cases': verdict.names,
                'examples': [_example(found, example) for example in verdict.examples],
            }
            for verdict in found.verdicts
        ],
        parts=[_part(part, sizes_wh) for part, sizes_wh in zip(found.parts, found.sizes)],
        object_sizes=[asdict(row) for row in found.shares],
        coverage=[_coverage(row) for row in found.coverages],
        tiles={name: dict(asdict(advice), input_size=size.label) for name, (size, advice) in found.tiles.items()},
    )


def _part(part: DatasetPart, sizes_wh: np.ndarray) -> dict[str, Any]:
    counted = part.bbox[part.counted]
    frequent = Counter(map(tuple, sizes_wh.tolist())).most_common(10)
    return dict(
        name=part.name, source=part.source, split=part.split, image_root=part.image_root, images=len(part.file_names),
        images_without_boxes=int((np.bincount(part.image, minlength=len(part.file_names)) == 0).sum()), boxes=len(part.image),
        ignored=int((~part.counted).sum()), categories=[
            dict(id=category_id, name=name, supercategory=above)
            for category_id, name, above in zip(part.category_ids, part.class_names, part.supercategories)
        ],
        boxes_by_class=class_counts(part), config_classes=None if part.classes is None else list(part.classes),
        image_sizes=[dict(width=width, height=height, images=count) for (width, height), count in frequent],
        box_sides=quantiles(np.sqrt(np.maximum(counted[:, 2:], 0).prod(axis=1))), account=part.account, refusal=part.refusal,
    )  # fmt: skip


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Least, 5 %, median, 95 % and largest; {} without values."""
    names = ('least', 'p5', 'median', 'p95', 'largest')
    return dict(zip(names, np.quantile(values, [0, 0.05, 0.5, 0.95, 1]).tolist())) if len(values) else {}


def _example(found: Examination, example: Example) -> dict[str, Any]:
    part = found.parts[example.part]
    boxes = [dict(bbox=part.bbox[row].tolist(), category=_label_name(part, row)) for row in example.rows]
    return dict(part=part.name, image=part.image_name(example.image), boxes=boxes, text=example.text)


def _label_name(part: DatasetPart, row: int) -> str | None:
    return part.class_names[part.label[row]] if part.label[row] >= 0 else None


def _coverage(row: Coverage) -> dict[str, Any]:
    return dict(
        head=row.head.name, note=row.head.note, reg_max=row.head.reg_max, size=row.size, boxes=row.boxes, beyond=row.any_beyond,
        unmatched=row.unmatched, needed_reg_max=row.needed or None, levels=[
            dict(stride=stride, boxes=int(boxes), beyond=int(beyond))
            for stride, boxes, beyond in zip(row.strides, row.on_level, row.beyond)
        ],
        tried=[dict(setting=text, beyond_share=beyond, unmatched_share=unmatched) for text, beyond, unmatched in row.tried],
    )  # fmt: skip


def write_examination(
    found: Examination,
    out_dir: str | os.PathLike,
    *,
    title: str,
    inputs: Sequence[str | os.PathLike] = (),
    facts: Mapping[str, object] | None = None,
) -> tuple[Path, Path]:
    """Write ``dataset_doctor.html`` and ``dataset_doctor.json``; returns their paths.

    Args:
        found: what :func:`examine` returned.
        out_dir: folder; made where it is missing.
        title: heading of the page.
        inputs: files that must not be replaced.
        facts: more for the head of the page.

    Raises:
        ConfigError: an output is one of the inputs.
        DataError: a file cannot be written.
    """
    from .dataset_page import write_dataset_page  # drawing is not needed for the examination itself

    page, table = Path(out_dir, 'dataset_doctor.html'), Path(out_dir, 'dataset_doctor.json')
    refuse_inputs([page, table], [*inputs, *(part.source for part in found.parts)], field='out_dir')
    write_json(table, as_json(found, title))
    write_dataset_page(found, page, title=title, facts=facts or {})
    return page, table
