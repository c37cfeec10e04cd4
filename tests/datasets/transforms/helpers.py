"""Samples for the tests of transforms."""

import numpy as np

import mmdet.datasets.transforms  # noqa: F401  (registers the transforms)


def make_sample(width: int = 20, height: int = 10, boxes=(), ignored=(), seed: int = 0) -> dict:
    """A loaded sample: a random BGR image and the boxes, labels 0, 1, 2 ... in order."""
    image = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    flags = np.zeros(len(boxes), bool)
    flags[list(ignored)] = True
    return dict(
        img_path='image.jpg',
        img_id=7,
        img=image,
        img_shape=(height, width),
        ori_shape=(height, width),
        gt_bboxes=boxes,
        gt_bboxes_labels=np.arange(len(boxes), dtype=np.int64),
        gt_ignore_flags=flags,
    )


def crowd(count: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """(count, 4) random xyxy boxes of 2 to 20 pixels inside the image."""
    random = np.random.RandomState(seed)
    size = random.uniform(2, 20, (count, 2))
    corner = random.uniform(0, 1, (count, 2)) * ([width, height] - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def assert_consistent(results: dict) -> None:
    """Shape and objects agree: one row an object everywhere, boxes inside the image, img_shape of the image."""
    boxes = results['gt_bboxes']
    height, width = results['img'].shape[:2]
    assert results['img_shape'] == (height, width)
    assert boxes.dtype == np.float32 and boxes.shape[1:] == (4,)
    assert len(boxes) == len(results['gt_bboxes_labels']) == len(results['gt_ignore_flags'])
    assert results['gt_bboxes_labels'].dtype == np.int64 and results['gt_ignore_flags'].dtype == bool
    assert (boxes >= 0).all() and (boxes[:, 0::2] <= width).all() and (boxes[:, 1::2] <= height).all()
