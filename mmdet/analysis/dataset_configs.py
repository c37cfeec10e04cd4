"""The data sets of a config, as :mod:`~mmdet.analysis.dataset_doctor` examines them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ..datasets import BaseDetDataset
from ..datasets.account import account_of
from ..datasets.annotated import AnnotatedDataset
from ..errors import ConfigError, MMDetError
from ..formats.annotations import kind_of, read_table
from ..formats.visdrone import is_visdrone
from ..registry import DATASETS
from .dataset_reading import SPLITS, DatasetPart, coco_part, image_root_of, parse_document, table_part


def read_config_parts(config: Config, images: str | os.PathLike | None = None) -> list[DatasetPart]:
    """The datasets of a config's loaders, inside all wrappers; one that occurs in two splits becomes one part.

    Args:
        config: its ``train_dataloader``, ``val_dataloader`` and ``test_dataloader`` are read.
        images: folder of the images, in place of those of the config.

    Raises:
        ConfigError: the config names no dataset.
        DataError: an annotation file cannot be read.
    """
    leaves: dict[str, list[tuple[dict, list[dict]]]] = {}
    for split in SPLITS:
        dataset = (config.get(f'{split}_dataloader') or {}).get('dataset')
        if dataset:
            leaves[split] = list(_leaves(dataset))
    if not any(leaves.values()):
        raise ConfigError(
            'the config has no dataset', file=config.filename, field='{train,val,test}_dataloader.dataset'
        )
    parts: list[DatasetPart] = []
    sources: dict[tuple, DatasetPart] = {}
    for split, group in leaves.items():
        for number, (leaf, pipeline) in enumerate(group, 1):
            name = split if len(group) == 1 else f'{split} {number}'
            dataset = DATASETS.build(dict(leaf, lazy_init=True, pipeline=[]))
            key = (str(dataset.ann_file), str(getattr(dataset, 'image_prefix', '')), str(leaf.get('split')))
            if key in sources and key[0]:
                known = sources[key]
                known.name = f'{known.name}, {name}'
                known.split = f'{known.split}, {split}'
                continue
            part = _part_of_dataset(dataset, leaf, name, None if images is None else str(images))
            part.split, part.pipeline = split, pipeline
            sources[key] = part
            parts.append(part)
    return parts


def _leaves(dataset: Any, outer: Sequence[dict] = ()) -> Iterator[tuple[dict, list[dict]]]:
    """Configs of the datasets inside wrappers, one for each annotation file, and the transforms of each with those of its wrappers."""
    pipeline = [*(dataset.get('pipeline') or ()), *outer]
    inner = dataset.get('dataset') or dataset.get('datasets')
    if inner:
        for item in inner if isinstance(inner, list | tuple) else [inner]:
            yield from _leaves(item, pipeline)
        return
    files = dataset.get('ann_file')
    for file in files if isinstance(files, list | tuple) else [files]:
        yield dict(dataset) if file is None else dict(dataset, ann_file=file), pipeline


def _part_of_dataset(dataset: BaseDetDataset, leaf: dict, name: str, images: str | None) -> DatasetPart:
    path = dataset.ann_file
    root = images if images is not None else getattr(dataset, 'image_prefix', '')
    classes = dataset.metainfo.get('classes')
    account, refusal = _account(leaf)  # a dataset that makes its files has made them then
    own_root = bool(root) and os.path.normpath(root) != os.path.normpath(dataset.data_root or '.')
    annotated = isinstance(dataset, AnnotatedDataset)
    kind, split = (kind_of(path, dataset.kind), dataset.split) if annotated else ('', None)
    if path and not annotated and is_visdrone(Path(path)):
        kind = 'visdrone'
    if kind and not (kind == 'coco' and os.path.isfile(path)):  # of a COCO file, the faulty records are wanted, too
        part = table_part(read_table(path, root if own_root and os.path.isdir(root) else None, kind, split), name)
        part.image_root = root if own_root else part.image_root
    elif path.endswith('.json') and {'images', 'categories'} <= set(document := parse_document(path)):
        part = coco_part(document, path, name)
        part.image_root = root if own_root or not annotated else image_root_of(path, part.file_names)
    else:  # another format, or made by the dataset: its records are what there is
        part = _part_of_records(DATASETS.build(dict(leaf, pipeline=[], test_mode=True)), name)
    part.classes = None if classes is None else tuple(classes)
    part.account, part.refusal = account, refusal
    return part


def _part_of_records(dataset: BaseDetDataset, name: str) -> DatasetPart:
    dataset.full_init()
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    instances = [(number, row) for number, info in enumerate(infos) for row in info.get('instances', ())]
    xyxy = np.array([row['bbox'] for _, row in instances], dtype=np.float64).reshape(-1, 4)
    return DatasetPart(
        name=name,
        source=str(dataset.ann_file or type(dataset).__name__),
        image_root='',
        file_names=[str(info['img_path']) for info in infos],
        sizes_wh=np.array([(info.get('width') or 0, info.get('height') or 0) for info in infos], np.int64).reshape(
            -1, 2
        ),
        class_names=list(dataset.metainfo.get('classes') or ()),
        image=np.array([number for number, _ in instances], dtype=np.int64),
        label=np.array([row['bbox_label'] for _, row in instances], dtype=np.int64),
        bbox=np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1),
        ignored=np.array([bool(row.get('ignore_flag')) for _, row in instances], dtype=bool),
        annotated=bool(dataset.ann_file or instances),
    )


def _account(leaf: dict) -> tuple[list[str], str]:
    """What the dataset of the config makes of its files: the lines of its account of the boxes, or the error that it raises."""
    try:
        dataset = DATASETS.build(dict(leaf, pipeline=[]))
        dataset.full_init()
    except MMDetError as error:
        return [], str(error)
    return str(account_of(dataset).text()).splitlines(), ''
