"""Frames of a video; with the random numbers of mmdetection 3.3.0."""

import random

import pytest

from mmdet.errors import DataError
from mmdet.registry import TRANSFORMS


def build(kind='UniformRefFrameSample', **options):
    return TRANSFORMS.build(dict(type=kind, **options))


def video(**changes):
    frames = [dict(img_path=f'{i}.jpg', frame_id=i) for i in range(6)]
    return dict(dict(video_id=7, video_length=6, key_frame_id=2, images=frames), **changes)


def test_key_frame_alone():
    found = build('BaseFrameSample')(video())
    expected = dict(img_path=['2.jpg'], frame_id=[2], video_id=[7], video_length=[1], ori_video_length=[6])
    assert found == expected
    assert build('BaseFrameSample', collect_video_keys=[])(video()) == dict(img_path=['2.jpg'], frame_id=[2])
    del (anywhere := video())['key_frame_id']
    random.seed(1)
    assert build()(anywhere)['frame_id'][:1] == [1] or build('BaseFrameSample')(anywhere)['frame_id'][0] in range(6)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(num_ref_imgs=0), ([3], [True])),
        (dict(num_ref_imgs=2, frame_range=[-1, 1]), ([2, 3, 4], [False, True, False])),
        (dict(num_ref_imgs=4, frame_range=1), ([2, 2, 3, 4, 4], [False, False, True, False, False])),
        (dict(num_ref_imgs=6, frame_range=1, filter_key_img=False), ([2, 2, 3, 3, 3, 4, 4], [False, False, True, False, False, False, False])),
    ],
)  # fmt: skip
def test_frames_near_the_key_frame(options, expected):
    assert build(**options).sampling_frames(6, 3) == expected


def test_the_random_numbers():
    transform, frames = build(num_ref_imgs=1, frame_range=10), []
    random.seed(0)
    for key in (0, 3, 5):
        frames.append(transform.sampling_frames(6, key)[0])
    assert frames == [[0, 4], [3, 4], [0, 5]]
    assert build(num_ref_imgs=2, frame_range=[-1, 1])(video())['key_frame_flags'] == [False, True, False]


@pytest.mark.parametrize('frame_range', [[1, 2, 3], [1, -1], -1, [1, 2], [0.5, 1], 0])
def test_ranges_that_cannot_be(frame_range):
    with pytest.raises(AssertionError, match='frame_range'):
        build(frame_range=frame_range).sampling_frames(6, 3)


def test_errors():
    with pytest.raises(TypeError, match='frame_range'):
        build(frame_range='a')
    with pytest.raises(DataError, match='video_id'):
        build('BaseFrameSample')(dict(images=[{}], video_length=1, key_frame_id=0))
