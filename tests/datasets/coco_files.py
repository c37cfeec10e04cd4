"""Tiny COCO folders for the tests of this directory."""

import json
from pathlib import Path

import cv2
import numpy as np

CATEGORIES = [{'id': 3, 'name': 'cat'}, {'id': 1, 'name': 'dog'}, {'id': 7, 'name': 'bird'}]


def image(image_id: int, width: int = 40, height: int = 30) -> dict:
    return {'id': image_id, 'file_name': f'{image_id}.jpg', 'width': width, 'height': height}


def box(annotation_id: int, image_id: int, bbox=(2, 3, 10, 8), category_id: int = 1, **extra) -> dict:
    bbox = list(bbox)
    return {'id': annotation_id, 'image_id': image_id, 'category_id': category_id, 'bbox': bbox, 'iscrowd': 0, **extra}


def write_document(folder: Path, images: list, annotations: list, categories: list | None = None, **extra) -> str:
    path = Path(folder) / 'annotations.json'
    document = {
        'images': images,
        'annotations': annotations,
        'categories': CATEGORIES if categories is None else categories,
        **extra,
    }
    path.write_text(json.dumps(document))
    return str(path)


def write_images(folder: Path, sizes_wh: list[tuple[int, int]]) -> list[dict]:
    """JPEG files 1.jpg, 2.jpg, ... with distinct pixels; returns their COCO entries."""
    entries = []
    for image_id, (width, height) in enumerate(sizes_wh, 1):
        pixels = np.random.RandomState(image_id).randint(0, 255, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(Path(folder) / f'{image_id}.jpg'), pixels)
        entries.append(image(image_id, width, height))
    return entries


def break_image(folder: Path, image_id: int) -> None:
    """Cut a JPEG in half."""
    path = Path(folder) / f'{image_id}.jpg'
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
