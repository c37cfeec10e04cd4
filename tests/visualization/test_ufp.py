import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.utils import ModelInputError
from mmdet.visualization import draw_mosaic, draw_regions, draw_ufp_steps, palette, ufp_steps_of_boxes

WHITE, GREY = [255] * 3, [180] * 3


def grey(height=100, width=120):
    return np.full((height, width, 3), 100, np.uint8)


def test_no_regions_dims_everything():
    drawn = draw_regions(grey(), np.zeros((0, 7)))
    assert drawn.shape == (100, 120, 3) and (drawn == 45).all()


def test_one_region_pixel_by_pixel():
    # 20 x 10 pixels at (30, 40), zoom 4; the fraction is floored as in the mosaic.
    drawn = draw_regions(grey(), [[30.7, 40, 20, 10, 0, 0, 4]], legend=False)
    assert (drawn[40:50, 30:50] == 100).all(), 'the region stays as it is'
    assert (drawn[50, 29:51] == 255).all() and (drawn[40:50, 29] == 255).all() and (drawn[40:50, 50] == 255).all()
    assert (drawn[80:, :] == 45).all() and (drawn[:, 70:] == 45).all()


def test_legend_and_boxes_of_regions():
    image = grey(300, 400)
    drawn = draw_regions(image, torch.tensor([[30, 40, 20, 10, 0, 0, 4.0]]), torch.tensor([[35, 42, 45, 48.0]]))
    assert drawn.shape[0] > 300, 'a strip below'
    assert drawn[45, 34].tolist() == [225, 255, 0], 'the outline of the box'
    assert (image == 100).all()


def test_tiles_of_the_mosaic():
    regions = np.array([[0, 0, 10, 20, 0, 0, 4], [0, 0, 10, 10, 40, 0, 2]], float)
    drawn = draw_mosaic(grey(80, 60), regions, legend=False)
    assert (drawn[20:80, 0] == WHITE).all() and (drawn[20:80, 39] == WHITE).all() and (drawn[79, :40] == WHITE).all()
    assert (drawn[19, 40:60] == GREY).all() and (drawn[10:20, 59] == GREY).all()
    assert (drawn[21:, 41:] == 100).all()


def test_mosaic_of_a_model_is_bgr():
    mosaic = torch.zeros(3, 20, 30)
    mosaic[0], mosaic[1] = 300.0, 1.6  # blue, above what 8 bits hold
    drawn = draw_mosaic(mosaic, np.zeros((0, 7)))
    assert drawn.shape == (20, 30, 3) and (drawn == [0, 2, 255]).all()


def test_steps_of_known_boxes_come_back():
    boxes = np.array([[10, 10, 40, 30], [90, 80, 110, 95]], float)
    steps = ufp_steps_of_boxes(grey(), boxes, [1, 0], scale=1.5, mode='exact')
    assert steps['regions'].shape == (2, 7) and steps['mosaic'].shape[0] == 3
    order = steps['merged'].labels.argsort(descending=True)
    np.testing.assert_allclose(steps['merged'].bboxes[order], boxes, atol=1e-6)
    pictures = draw_ufp_steps(grey(), steps, ['car', 'van'])
    assert sorted(pictures) == ['merged', 'mosaic', 'regions']
    assert pictures['mosaic'].shape[1] == steps['mosaic'].shape[2]


def test_steps_without_detections():
    nothing = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64))
    steps = dict(coarse=nothing, regions=torch.zeros(0, 7), mosaic=torch.zeros(3, 0, 0), fine=None, merged=nothing)
    pictures = draw_ufp_steps(grey(), steps)
    assert (pictures['merged'] == 100).all() and (pictures['mosaic'] == 100).all()


def test_only_boxes_above_the_threshold():
    weak = InstanceData(bboxes=torch.tensor([[10.0, 10, 20, 20]]), scores=torch.tensor([0.2]), labels=torch.tensor([0]))
    steps = dict(coarse=weak, regions=torch.zeros(0, 7), mosaic=torch.zeros(3, 0, 0), fine=None, merged=weak)
    assert (draw_ufp_steps(grey(), steps)['merged'] == 100).all()
    assert not (draw_ufp_steps(grey(), steps, score_thr=0.1)['merged'][:100] == 100).all()
    weak.scores[:] = 0.25
    assert (draw_ufp_steps(grey(), steps, score_thr=0.25)['merged'] == 100).all(), 'at the threshold is not above it'


def test_numbers_and_zooms(monkeypatch):
    """Regions are numbered in their order; the legend lists the zooms, the largest first."""
    written = []
    monkeypatch.setattr('mmdet.visualization.ufp.put_text', lambda image, text, *args: written.append(text))
    monkeypatch.setattr('mmdet_runtime.drawing.put_text', lambda image, text, *args: written.append(text))
    regions = np.array(
        [
            [10, 10, 90, 90, 0, 0, 1],
            [10, 150, 50, 50, 100, 0, 4],
            [150, 10, 50, 50, 0, 300, 1],
            [150, 150, 50, 50, 300, 0, 1.5],
        ]
    )
    drawn = draw_regions(grey(300, 400), regions)
    assert written == ['1', '2', '3', '4', '4 regions', 'zoom 4: 1', 'zoom 1.5: 1', 'zoom 1: 2']
    assert [drawn[y, 9].tolist() for y in (50, 170)] == [[120] * 3, [255] * 3] and drawn[170, 149].tolist() == [150] * 3
    written.clear()
    draw_mosaic(grey(500, 500), regions, legend=False)
    assert written == ['1', '2', '3', '4']
    written.clear()
    draw_mosaic(grey(40, 40), [[0, 0, 5, 5, 0, 0, 1.0]], legend=False)
    assert written == [], 'a tile smaller than its number'


def test_boxes_of_the_mosaic_have_the_colours_of_their_classes():
    mosaic, regions = grey(200, 200), np.array([[0, 0, 100, 100, 0, 0, 1.0]])
    drawn = draw_mosaic(mosaic, regions, torch.tensor([[20.0, 30, 60, 70]]), torch.tensor([1]), ['car', 'van'])
    assert drawn[50, 19].tolist() == list(palette(2)[1]) and drawn[50, 99].tolist() == [120] * 3
    assert drawn.shape[0] == 200 + 2 * 17, 'a strip of zooms and one of classes'
    assert draw_mosaic(mosaic, regions, np.array([[20.0, 30, 60, 70]]), [0], legend=False).shape == (200, 200, 3)


def test_class_after_class():
    """Known boxes are packed as those of a detector are: sorted by label, in their order within a label."""
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    steps = ufp_steps_of_boxes(grey(), boxes, [1, 0, 1])
    assert steps['coarse'].labels.tolist() == [0, 1, 1]
    assert steps['coarse'].bboxes[:, 0].tolist() == [20, 0, 40]


@pytest.mark.parametrize('mosaic', [torch.zeros(1, 4, 4), torch.zeros(4, 4), np.zeros((0, 4, 3), np.uint8)])
def test_wrong_mosaics(mosaic):
    with pytest.raises(ModelInputError):
        draw_mosaic(mosaic, np.zeros((0, 7)))


@pytest.mark.parametrize('regions', [np.zeros((1, 4)), np.zeros(7)])
def test_regions_of_a_wrong_shape(regions):
    with pytest.raises(ModelInputError, match='regions'):
        draw_regions(grey(), regions)
