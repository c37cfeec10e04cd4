"""The runtime's canvases beside the transforms of the toolbox that they stand for."""

import numpy as np
import pytest

from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS
from mmdet_runtime.canvas import Canvas
from mmdet_runtime.stage import Stage

RESIZE = dict(type='Resize', scale=(40, 24), keep_ratio=True)
GREY = dict(img=(114, 114, 114))


@pytest.mark.parametrize(
    ('steps', 'canvas'),
    [
        *(
            ([dict(type='WarpResize', scale=(40, 24), fit=fit, border_val=7)], dict(warp=fit, color=[7.0] * 3))
            for fit in ('centre', 'shrink', 'stretch')
        ),
        ([RESIZE, dict(type='Pad', pad_to_square=True, pad_val=GREY)], dict(square=True, color=[114.0] * 3)),
        ([RESIZE, dict(type='Pad', size=(48, 40), pad_val=GREY)], dict(size=[48, 40], color=[114.0] * 3)),
    ],
)
@pytest.mark.parametrize('size_hw', [(30, 60), (60, 31), (24, 40)])
def test_canvas_is_that_of_the_transforms(steps, canvas, size_hw):
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    results = dict(img=image, img_shape=size_hw, ori_shape=size_hw)
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    seen, box = {}, np.float32([[3, 2, 9, 8]])

    def network(images, shapes):
        seen.update(images=images[0].transpose(1, 2, 0), shape=tuple(shapes[0]))
        return box[None], np.float32([[0.5]]), np.int64([[0]])

    (found,) = Stage(network, scales=[(40, 24)], test_cfg=dict(nms=None), canvas=canvas).detect([image])
    assert seen['shape'] == tuple(results['img_shape'][:2])
    np.testing.assert_array_equal(seen['images'], results['img'].astype(np.float32))
    top, _, left, _ = results.get('pad_param', (0, 0, 0, 0))
    expected = (box - [left, top, left, top]) / np.tile(results['scale_factor'], 2)
    if 'pad_param' in results:
        expected = expected.clip(0, np.tile(size_hw[::-1], 2))
    np.testing.assert_allclose(found.bboxes, expected, atol=1e-4)


@pytest.mark.parametrize(
    'options', [dict(warp='middle'), dict(size=[0, 3]), dict(color=[1, 2]), dict(color=[1, 2, float('nan')])]
)
def test_refusals(options):
    with pytest.raises(ConfigError, match='canvas'):
        Canvas(**options)
