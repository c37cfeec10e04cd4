"""Images that are decoded at a part of their sides: everything but the pixels is that of the whole image."""

import cv2
import numpy as np
import pytest

from mmdet.datasets.transforms import Compose, InferencerLoader
from mmdet.datasets.transforms.loading import settle_pipeline
from mmdet.errors import ConfigError

LOAD, ANNOTATIONS, COLOUR = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='YOLOXHSVRandomAug')
KEEP = dict(keep_ratio=True)
# The transform that resizes, and the size (h, w) at which an image of 90 x 161 is decoded for it.
RESIZERS = [
    (dict(type='Resize', scale=(161, 90)), (90, 161)),
    (dict(type='Resize', scale=(81, 46)), (90, 161)),
    (dict(type='Resize', scale=(81, 45)), (45, 81)),
    (dict(type='Resize', scale=(60, 41), **KEEP), (45, 81)),
    (dict(type='Resize', scale_factor=0.25), (23, 41)),
    (dict(type='FixScaleResize', scale=(41, 23), **KEEP), (23, 41)),
    (dict(type='RandomResize', scale=[(60, 20), (60, 41)], **KEEP), (45, 81)),
    (dict(type='RandomResize', scale=(30, 20), ratio_range=(0.5, 2.1), **KEEP), (45, 81)),
    (dict(type='RandomChoiceResize', scales=[(30, 20), (100, 60)], **KEEP), (90, 161)),
    (dict(type='ResizeShortestEdge', scale=22, max_size=60, **KEEP), (23, 41)),
    (dict(type='FixShapeResize', width=40, height=40, **KEEP), (23, 41)),
    (dict(type='WarpResize', scale=(40, 40), zoom=(0.5, 2.0), flip=0.5), (45, 81)),
    (dict(type='WarpResize', scale=(20, 20), fit='stretch', perspective=1e-4), (90, 161)),
]


@pytest.fixture(scope='module')
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp('reduced') / 'scene.jpg'
    noise = np.random.RandomState(0).randint(0, 256, (90, 161, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 8) * 3, [cv2.IMWRITE_JPEG_QUALITY, 100])
    instances = [dict(bbox=[10, 20, 70, 60], bbox_label=0), dict(bbox=[100, 5, 161, 90], bbox_label=1)]
    return dict(img_path=str(path), height=90, width=161, instances=instances)


def run(record: dict, *steps: dict, reduced: bool) -> dict:
    pipeline = Compose([dict(LOAD, reduced=reduced), *steps])
    settle_pipeline(pipeline.transforms)
    np.random.seed(0)
    return pipeline(dict(record))


@pytest.mark.parametrize(
    'resizer, decoded', RESIZERS, ids=lambda value: str(value.get('type')) if isinstance(value, dict) else ''
)
def test_all_but_the_pixels_is_the_same(record, resizer, decoded):
    loaders = Compose([dict(LOAD, reduced=True), ANNOTATIONS, resizer]).transforms
    settle_pipeline(loaders)
    loaded = loaders[0](dict(record))
    assert loaded['img'].shape == (*decoded, 3) and loaded['img_shape'] == loaded['ori_shape'] == (90, 161)
    whole, reduced = (run(record, ANNOTATIONS, COLOUR, resizer, reduced=option) for option in (False, True))
    assert whole.keys() == reduced.keys() and 'reduced_from' not in reduced
    for key in sorted(whole.keys() - {'img'}):
        np.testing.assert_array_equal(whole[key], reduced[key], err_msg=key)
    assert whole['img'].shape == reduced['img'].shape
    whole, reduced = (run(record, ANNOTATIONS, resizer, reduced=option)['img'].astype(int) for option in (False, True))
    assert (
        np.abs(whole - reduced).mean() < 2.5
    )  # of values between 0 and 255; an image that is moved by a pixel differs by more


@pytest.mark.parametrize(
    'steps', [[], [ANNOTATIONS, dict(type='RandomFlip', prob=0.5), RESIZERS[2][0]], [dict(type='PackDetInputs')], [dict(type='Compose', transforms=[RESIZERS[2][0]])]]
)  # fmt: skip
def test_another_transform_first_is_refused(record, steps):
    with pytest.raises(ConfigError, match='LoadImageFromFile.reduced'):
        run(record, *steps, reduced=True)


def test_where_no_data_set_asks_for_it_images_stay_whole(record):
    assert InferencerLoader(reduced=True)(record['img_path'])['img'].shape == (90, 161, 3)
    assert Compose([dict(LOAD, reduced=True)])(dict(record))['img'].shape == (90, 161, 3)
    with pytest.raises(ConfigError, match='reduced'):
        Compose([dict(LOAD, reduced=2)])


@pytest.mark.parametrize('part, shape', [(True, (90, 161)), (1.0, (90, 161)), (0.9, (45, 81)), (0.99, (90, 161))])
def test_a_part_of_the_size_suffices(record, part, shape):
    """(85, 47) needs the whole image of 161 x 90; its half is 81 x 45."""
    steps = Compose([dict(LOAD, reduced=part), dict(type='Resize', scale=(85, 47))]).transforms
    settle_pipeline(steps)
    loaded = steps[0](dict(record))
    assert loaded['img'].shape[:2] == shape
    assert steps[1](loaded)['img'].shape == (47, 85, 3)


@pytest.mark.parametrize('value', [0.5, 1.5, 0, -1, 'half', None])
def test_a_part_that_is_none(value):
    with pytest.raises(ConfigError, match='reduced'):
        Compose([dict(LOAD, reduced=value)])
