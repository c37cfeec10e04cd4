"""Pictures after the pipeline."""

import numpy as np
import pytest

from mmdet.analysis import browse, dataset_config
from mmdet.registry import DATASETS
from mmdet.utils import ConfigError, DataError, load_config

from .cases import write_coco_folder


def has_outline(picture, box):
    """Whether the ring one pixel outside ``box`` has one colour."""
    x1, y1, x2, y2 = box
    ring = np.concatenate([picture[y1 - 1, x1:x2], picture[y2, x1:x2], picture[y1:y2, x1 - 1], picture[y1:y2, x2]])
    return (ring == ring[0]).all(axis=1).mean() > 0.9


@pytest.mark.parametrize('split, count', [('test', 2), ('train', 4)])
def test_boxes_lie_on_the_resized_picture(tmp_path, split, count):
    # 100 x 80 becomes 200 x 160; the test pipeline loads the boxes after that, the training pipeline before.
    config, _ = write_coco_folder(tmp_path)
    dataset = DATASETS.build(dataset_config(load_config(config), split))
    pictures = list(browse(dataset))
    assert len(pictures) == count
    name, picture = pictures[0]
    assert name == '00000_1.jpg' and picture.dtype == np.uint8
    assert picture.shape[:2] == (160, 200) or picture.shape[1] == 200  # a legend may follow below
    assert has_outline(picture, (20, 20, 60, 60)) and has_outline(picture, (100, 80, 180, 140))
    assert not has_outline(picture, (10, 10, 30, 30))


def test_limits_and_errors(tmp_path):
    config, _ = write_coco_folder(tmp_path)
    cfg = load_config(config)
    dataset = DATASETS.build(dataset_config(cfg, 'test'))
    assert [name for name, _ in browse(dataset, 1)] == ['00000_1.jpg']
    with pytest.raises(ConfigError, match='positive'):
        next(browse(dataset, 0))
    with pytest.raises(ConfigError, match='no dataset for this split'):
        dataset_config(cfg, 'val')
    plain = DATASETS.build(dict(dataset_config(cfg, 'test'), pipeline=[]))
    with pytest.raises(DataError, match='PackDetInputs'):
        next(browse(plain))


def test_same_seed_same_pictures(tmp_path):
    config, _ = write_coco_folder(tmp_path)
    cfg = load_config(config)
    cfg.train_dataloader.dataset.dataset.pipeline[2] = dict(type='RandomFlip', prob=0.5)
    dataset = DATASETS.build(dataset_config(cfg, 'train'))
    first, again = ([picture for _, picture in browse(dataset, seed=3)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
