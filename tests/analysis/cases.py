"""Tiny datasets and predictions for the tests of this directory."""

import json
from pathlib import Path

import cv2
import numpy as np

from mmdet.analysis import ImagePredictions, PredictionSet

CLASSES = ('car', 'bus', 'dog')


def image(gt=(), dt=(), *, ignored=(), image_id=1, path='1.jpg') -> ImagePredictions:
    """One image; ``gt`` rows are (x1, y1, x2, y2, label), ``dt`` rows (x1, y1, x2, y2, score, label)."""
    gt = np.asarray([*gt, *ignored], np.float64).reshape(-1, 5)
    dt = np.asarray(dt, np.float64).reshape(-1, 6)
    return ImagePredictions(
        image_id, path, gt[:, :4], gt[:, 4].astype(np.int64), np.arange(len(gt)) >= len(gt) - len(ignored),
        dt[:, :4], dt[:, 4], dt[:, 5].astype(np.int64),
    )  # fmt: skip


def prediction_set(*images: ImagePredictions) -> PredictionSet:
    return PredictionSet(CLASSES, list(images))


def write_coco_folder(folder: Path) -> tuple[Path, Path]:
    """Two pictures (100 x 80 and 60 x 60), a config that reads them, and COCO annotations.

    Picture 1: a car (10, 10, 30, 30), a dog (50, 40, 90, 70); picture 2: a bus (5, 5, 45, 45) and a crowd of cars.
    """
    rng = np.random.default_rng(0)
    for number, (width, height) in ((1, (100, 80)), (2, (60, 60))):
        cv2.imwrite(str(folder / f'{number}.jpg'), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
    document = dict(
        images=[
            dict(id=1, file_name='1.jpg', width=100, height=80),
            dict(id=2, file_name='2.jpg', width=60, height=60),
        ],
        categories=[
            dict(id=3, name='car', supercategory='vehicle'),
            dict(id=5, name='bus', supercategory='vehicle'),
            dict(id=9, name='dog', supercategory='animal'),
        ],
        annotations=[
            dict(id=1, image_id=1, category_id=3, bbox=[10, 10, 20, 20], area=400, iscrowd=0),
            dict(id=2, image_id=1, category_id=9, bbox=[50, 40, 40, 30], area=1200, iscrowd=0),
            dict(id=3, image_id=2, category_id=5, bbox=[5, 5, 40, 40], area=1600, iscrowd=0),
            dict(id=4, image_id=2, category_id=3, bbox=[46, 46, 12, 12], area=144, iscrowd=1),
        ],
    )
    annotations = folder / 'annotations.json'
    annotations.write_text(json.dumps(document))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(200, 160), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset', data_root=str(folder), ann_file='annotations.json', data_prefix=dict(img=''),
        metainfo=dict(classes=CLASSES), test_mode=True, pipeline=pipeline,
    )  # fmt: skip
    train = dict(dataset, test_mode=False, pipeline=[pipeline[0], pipeline[2], pipeline[1], pipeline[3]])
    config = folder / 'config.py'
    config.write_text(
        f'test_dataloader = dict(dataset={dataset!r})\ntrain_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, dataset={train!r}))\n'
    )
    return config, annotations


def write_coco_results(folder: Path) -> Path:
    """Image 1: its car, exactly, and a dog beside the dog; image 2: a car in place of the bus, and one in the crowd."""
    rows = [
        dict(image_id=1, category_id=3, bbox=[10, 10, 20, 20], score=0.9),
        dict(image_id=1, category_id=9, bbox=[0, 60, 10, 10], score=0.8),
        dict(image_id=2, category_id=3, bbox=[5, 5, 40, 40], score=0.7),
        dict(image_id=2, category_id=3, bbox=[47, 47, 10, 10], score=0.6),
    ]
    path = folder / 'results.bbox.json'
    path.write_text(json.dumps(rows))
    return path
