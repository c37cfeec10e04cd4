"""Whether the files of a metric belong to the data sets whose predictions it will get; asked before the first image."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.structures import BaseDataElement

from ..errors import ConfigError, DataError
from ..formats.coco import CocoAnnotations, ImageId
from .predictions import ground_truth

_SHOWN = 5


def is_annotation_file_of(dataset: Any, ann_file: Any) -> bool:
    """Whether a data set, possibly inside wrappers, was read from this file, or these files."""
    while not hasattr(dataset, 'ann_file') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    own = getattr(dataset, 'ann_file', None)
    return bool(own) and _paths(own) == _paths(ann_file)


def _paths(ann_file: Any) -> list[str]:
    names = [ann_file] if isinstance(ann_file, str | os.PathLike) else list(ann_file)
    return [str(name) if '://' in str(name) else os.path.realpath(name) for name in names]


def check_images(
    parts: Sequence[Any],
    annotations: CocoAnnotations,
    id_of: Callable[[dict], Any],
    file_names: Mapping[ImageId, str],
) -> list[str]:
    """Compare the images of data sets with those of an annotation file.

    Args:
        parts: the data sets; those without records (``get_data_info``) are passed over.
        annotations: content of the file.
        id_of: gives the id of the image of a record.
        file_names: image id -> file name in the annotation file; may be empty.

    Returns:
        sentences about images that only the file has, and about files of other names.

    Raises:
        DataError: the file lacks images of the data sets.
        ConfigError: an id occurs in two data sets, which one file cannot tell apart.
    """
    if len(parts) > 1:
        advice = (
            'leave ann_file out, so that the ground truth is taken from the data sets (with LoadAnnotations after Resize in their '
            'pipelines), or give each data set a metric of its own: MultiDatasetsEvaluator'
        )
        infos = check_ids_differ(parts, id_of, advice, file=annotations.source)
    else:
        infos = _records(parts[0])
    if not infos:
        return []
    ids = {id_of(info): info for info in infos}
    absent = [image_id for image_id in ids if image_id not in annotations.image_index]
    if absent:
        message = (
            f'{len(absent)} of the {len(ids)} images of the data set are not in the annotation file of the metric, which has '
            f'{len(annotations.image_ids)}. Is it the file of another data set?'
        )
        raise DataError(message, file=annotations.source, field='image_id', received=absent[:_SHOWN])
    notes = []
    if len(ids) < len(annotations.image_ids):
        left = len(annotations.image_ids) - len(ids)
        notes.append(
            f'{annotations.source}: {left} of its {len(annotations.image_ids)} images are not in the data set; their objects count as missed'
        )
    other = [
        (image_id, Path(info['img_path']).name, Path(file_names[image_id]).name)
        for image_id, info in ids.items()
        if info.get('img_path') and file_names.get(image_id)
    ]
    other = [row for row in other if Path(row[1]).stem != Path(row[2]).stem]
    if other:
        image_id, own, theirs = other[0]
        notes.append(
            f'{annotations.source}: {len(other)} of {len(ids)} images have other file names than in the data set, such as image {image_id}: '
            f'{theirs}, and {own} in the data set. Is it the file of another data set?'
        )
    return notes


def check_truth(parts: Sequence[Any]) -> None:
    """Load the first sample of each data set for a metric that takes the ground truth from the samples.

    Raises:
        DataError: there is none in it.
    """
    for part in parts:
        if hasattr(part, 'get_data_info') and len(part):
            sample = part[0]
            sample = sample.get('data_samples') if isinstance(sample, Mapping) else None
            if isinstance(sample, BaseDataElement):
                found = sample.to_dict()
                ground_truth(found, f'image {found.get("img_id")!r}', None)


def check_ids_differ(
    parts: Sequence[Any], id_of: Callable[[dict], Any], advice: str, file: object = None
) -> list[dict]:
    """The records of all data sets.

    Raises:
        ConfigError: two of the data sets have images of one id.
    """
    records: list[dict] = []
    owner: dict[Any, int] = {}
    for number, part in enumerate(parts):
        for info in _records(part):
            image_id = id_of(info)
            if owner.setdefault(image_id, number) != number:
                message = f'data sets {owner[image_id] + 1} and {number + 1} both have an image of this id; {advice}'
                raise ConfigError(message, file=file, field='image_id', received=image_id)
            records.append(info)
    return records


def _records(dataset: Any) -> list[dict]:
    if not hasattr(dataset, 'get_data_info') or not hasattr(dataset, '__len__'):
        return []
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [info for info in records if isinstance(info, dict) and 'img_id' in info]
