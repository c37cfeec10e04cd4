"""Writes what the examination of a data set found: the page and a JSON file."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import write_json
from ..utils.outputs import refuse_inputs
from .dataset_checks import class_counts
from .dataset_doctor import Examination
from .dataset_findings import Example
from .dataset_page import write_dataset_page
from .dataset_priors import Coverage
from .dataset_reading import DatasetPart


def as_json(found: Examination, title: str) -> dict[str, Any]:
    """Everything, for the JSON file."""
    return dict(
        title=title,
        ok=not found.verdicts,
        verdicts=[
            dict(
                code=verdict.code, severity=verdict.severity, text=verdict.text, advice=verdict.advice, count=verdict.total,
                counts=verdict.counts, cases=verdict.names, examples=[_example(found, example) for example in verdict.examples],
            )
            for verdict in found.verdicts
        ],
        parts=[_part(part, sizes_wh) for part, sizes_wh in zip(found.parts, found.sizes)],
        object_sizes=[asdict(row) for row in found.shares],
        coverage=[_coverage(row) for row in found.coverages],
        tiles={name: dict(asdict(advice), input_size=size.label) for name, (size, advice) in found.tiles.items()},
    )  # fmt: skip


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
    names = [part.class_names[label] if label >= 0 else None for label in part.label[list(example.rows)]]
    boxes = [dict(bbox=part.bbox[row].tolist(), category=name) for row, name in zip(example.rows, names)]
    return dict(part=part.name, image=part.image_name(example.image), boxes=boxes, text=example.text)


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
) -> tuple[Path, Path]:
    """Write ``dataset_doctor.html`` and ``dataset_doctor.json``; returns their paths.

    Args:
        found: what :func:`examine` returned.
        out_dir: folder; made where it is missing.
        title: heading of the page.
        inputs: files that must not be replaced.

    Raises:
        ConfigError: an output is one of the inputs.
        DataError: a file cannot be written.
    """
    page, table = Path(out_dir, 'dataset_doctor.html'), Path(out_dir, 'dataset_doctor.json')
    refuse_inputs([page, table], [*inputs, *(part.source for part in found.parts)], field='out_dir')
    write_json(table, as_json(found, title))
    write_dataset_page(found, page, title=title)
    return page, table
