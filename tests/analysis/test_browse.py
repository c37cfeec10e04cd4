"""Pictures after the pipeline."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.analysis import browse, dataset_config, draw_sample, has_display
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
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


def packed(boxes, labels=(0,), ignored=(), scale_factor=(1.0, 1.0), path='folder/x.png'):
    """A sample of 40 x 60 pixels whose channels are B = 10, G = 20, R = 30."""
    sample = DetDataSample(metainfo=dict(scale_factor=scale_factor, img_path=path))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.int64)
    )
    sample.ignored_instances = InstanceData(bboxes=torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4))
    pixels = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 40, 60)
    return dict(inputs=pixels, data_samples=sample)


META = dict(classes=('car', 'bus'), palette=[(200, 0, 0), (0, 200, 0)])


def test_a_sample_pixel_by_pixel():
    drawn = draw_sample(packed([[10, 15, 30, 25]], [1]), META)
    assert drawn.shape == (40, 60, 3) and drawn[35, 50].tolist() == [30, 20, 10], 'RGB'
    assert (drawn[14:26, 9] == [0, 200, 0]).all() and (drawn[14:26, 30] == [0, 200, 0]).all()
    # Boxes of the original image: x by the first factor, y by the second; those to be ignored, too.
    drawn = draw_sample(packed([[5, 15, 15, 25]], [0], [[20, 20, 28, 38]], (2.0, 1.0)), META, original_boxes=True)
    assert (drawn[14:26, 9] == [200, 0, 0]).all() and (drawn[14:26, 30] == [200, 0, 0]).all()
    assert (drawn[19:39, [39, 56]] == 170).all(-1).any(0).all() and not (drawn[:, 20:38] == 170).any()
    bare = DetDataSample()
    bare.gt_instances = InstanceData()  # of a pipeline that loads no annotations
    assert (draw_sample(dict(packed([]), data_samples=bare), META) == [30, 20, 10]).all()
    with pytest.raises(DataError, match=r'\(3, h, w\)'):
        draw_sample(dict(packed([]), inputs=torch.zeros(1, 4, 4)), META)


def test_names_and_seeds(tmp_path):
    """Each picture has a seed of its own, counted from the one given."""

    class Samples(list):
        metainfo = META

        def __getitem__(self, index):
            seen.append((int(index), index.seed))
            return packed([], [], path=super().__getitem__(index))

    seen = []
    names = [name for name, _ in browse(Samples(['a/x.png', None, 'b.c/y']), seed=7)]
    assert names == ['00000_x.jpg', '00001_sample.jpg', '00002_y.jpg']
    assert seen == [(0, 7), (1, 8), (2, 9)]
    for _ in range(2):
        repeated = [name for name, _ in browse(Samples(['a/x.png', 'a/x.png']), out_dir=str(tmp_path / 'out'))]
        assert repeated == ['00000_x.jpg', '00001_x.jpg'], 'an image that is drawn twice has two pictures'


@pytest.mark.parametrize(
    'variables, expected', [({}, False), ({'DISPLAY': ':0'}, True), ({'WAYLAND_DISPLAY': 'w'}, True)]
)
def test_display(monkeypatch, variables, expected):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr('sys.platform', 'linux')
    assert has_display() == expected
    monkeypatch.setattr('sys.platform', 'darwin')
    assert has_display()


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
