"""One warp in place of resize and augmentation: NanoDet's geometry, its boxes, and the way back."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.datasets.transforms import PackDetInputs, WarpResize
from mmdet.errors import ConfigError
from mmdet.models.dense_heads import NanoDetHead

from .helpers import make_sample

# Image (w, h), fit: canvas (h, w); x scale, x shift, y scale, y shift; box (10, 20, 110, 220) afterwards (RangiLyu/nanodet).
GEOMETRY = [
    ((640, 480), 'shrink', (312, 416), (0.65, 0, 0.65, 0), (6.5, 13, 71.5, 143)),
    ((640, 480), 'centre', (416, 416), (0.65, 0, 0.65, 52), (6.5, 65, 71.5, 195)),
    ((640, 480), 'stretch', (416, 416), (0.65, 0, 0.866667, 0), (6.5, 17.3333, 71.5, 190.667)),
    ((480, 640), 'centre', (416, 416), (0.65, 52, 0.65, 0), (58.5, 13, 123.5, 143)),
    ((1360, 765), 'shrink', (234, 416), (0.305882, 0, 0.305882, 0), (3.0588, 6.1176, 33.6471, 67.2941)),
    ((1360, 765), 'centre', (416, 416), (0.305882, 0, 0.305882, 91), (3.0588, 97.1176, 33.6471, 158.294)),
    ((1360, 765), 'stretch', (416, 416), (0.305882, 0, 0.543791, 0), (3.0588, 10.8758, 33.6471, 119.634)),
    ((333, 500), 'shrink', (416, 277), (0.831832, 0, 0.831832, 0.042042), (8.3183, 16.6787, 91.5015, 183.045)),
    ((333, 500), 'centre', (416, 416), (0.832, 69.472, 0.832, 0), (77.792, 16.64, 160.992, 183.04)),
    ((333, 500), 'stretch', (416, 416), (1.24925, 0, 0.832, 0), (12.4925, 16.64, 137.417, 183.04)),
]


@pytest.mark.parametrize('image_wh, fit, canvas_hw, matrix, box', GEOMETRY)
def test_geometry(image_wh, fit, canvas_hw, matrix, box):
    results = WarpResize((416, 416), fit)(make_sample(*image_wh, [[10, 20, 110, 220]]))
    assert results['img'].shape[:2] == results['img_shape'] == canvas_hw
    found = results['homography_matrix'][[0, 0, 1, 1], [0, 2, 1, 2]]
    np.testing.assert_allclose(found, matrix, atol=1e-4)
    np.testing.assert_allclose(results['gt_bboxes'], [box], atol=1e-3)

    # What the head finds there is where the object was.
    meta = PackDetInputs(meta_keys=('img_shape', 'ori_shape', 'scale_factor'))(dict(results, ori_shape=image_wh[::-1]))[
        'data_samples'
    ].metainfo
    head = NanoDetHead(2, 8, feat_channels=8, test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6)))
    candidates = InstanceData(
        bboxes=torch.as_tensor(results['gt_bboxes']), scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.long)
    )
    back = head._bbox_post_process(candidates, rescale=True, img_meta=meta).bboxes
    torch.testing.assert_close(back, torch.tensor([[10.0, 20, 110, 220]]), atol=1e-3, rtol=0)


def test_pixels_keep_their_corner():
    sample = make_sample(8, 4, [])
    sample['img'] = np.arange(96, dtype=np.uint8).reshape(4, 8, 3)
    image = sample['img'].copy()
    results = WarpResize((16, 16), border_val=(1, 2, 3))(sample)
    # Twice as large, in the middle of the canvas: every second pixel is one of the image, the border has its colour.
    np.testing.assert_array_equal(results['img'][4:12:2, 0:16:2], image)
    np.testing.assert_array_equal(results['img'][:3].reshape(-1, 3), np.tile([1, 2, 3], (48, 1)))
    assert results['pad_param'] == (4, 4, 0, 0) and len(results['gt_bboxes']) == 0


RANGES = dict(zoom=(0.6, 1.4), stretch=(0.8, 1.2), translate=0.2, flip=0.5)


def test_random_matrices():
    np.random.seed(0)
    transform = WarpResize((32, 32), **RANGES)
    drawn = np.stack([transform.draw((100, 50)) for _ in range(4000)])
    # The middle of the image lands in 0.5 +- 0.2 of its sides; both factors are products of two; half of the images are mirrored.
    middle = drawn @ [50, 25, 1]
    assert middle[:, 0].min() >= 30 and middle[:, 0].max() <= 70 and abs(middle[:, 0].mean() - 50) < 1
    assert middle[:, 1].min() >= 15 and middle[:, 1].max() <= 35
    across, along = drawn[:, 0, 0], drawn[:, 1, 1]
    assert 0.48 <= abs(across).min() < 0.55 and 1.6 < abs(across).max() <= 1.68 and along.min() >= 0.48
    assert abs((across < 0).mean() - 0.5) < 0.04
    assert abs(drawn[:, 0, 1]).max() == abs(drawn[:, 1, 0]).max() == abs(drawn[:, 2, :2]).max() == 0


def test_nothing_is_drawn_that_is_not_asked_for():
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    transform = WarpResize((32, 32))
    np.testing.assert_array_equal(transform.draw((10, 10)), np.eye(3))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_boxes_follow_turns_and_perspective():
    np.random.seed(1)
    transform = WarpResize((40, 40), rotate=30, shear=10, perspective=1e-3)
    sample = make_sample(40, 40, [[10, 12, 20, 30], [0, 0, 3, 3]])
    results = transform(sample)
    matrix = results['homography_matrix'].astype(float)
    corners = matrix @ np.array([[10, 20, 20, 10], [12, 12, 30, 30], [1, 1, 1, 1]])
    x, y = np.clip(corners[:2] / corners[2], 0, 40)
    np.testing.assert_allclose(results['gt_bboxes'][0], [x.min(), y.min(), x.max(), y.max()], atol=1e-4)
    assert len(results['gt_bboxes']) == len(results['gt_bboxes_labels'])


@pytest.mark.parametrize(
    'field, value',
    [('scale', (0, 3)), ('fit', 'left'), ('zoom', (0, 1)), ('translate', 2), ('rotate', 200), ('shear', 90)],
)
def test_arguments(field, value):
    with pytest.raises(ConfigError, match=field):
        WarpResize(**{'scale': (32, 32), field: value})
