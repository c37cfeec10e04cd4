"""Functions of boxes; numbers of mmdetection 3.3."""

import numpy as np
import pytest
import torch

from mmdet.core import boxes as package
from mmdet.core.boxes import HorizontalBoxes

B = torch.tensor([[0.0, 0, 10, 20], [5, 5, 15, 15]])


def test_nothing():
    nothing = torch.zeros(0, 4)
    for name in (
        'bbox_xyxy_to_cxcywh',
        'bbox_cxcywh_to_xyxy',
        'bbox_xyxy_to_cxcyah',
        'bbox_cxcyah_to_xyxy',
        'bbox_rescale',
    ):
        assert getattr(package, name)(nothing).shape == (0, 4), name
    assert package.bbox2roi([nothing]).shape == (0, 5) and package.roi2bbox(torch.zeros(0, 5)) == []
    assert package.bbox_project(nothing, torch.eye(3)).shape == (0, 4)
    assert [part.shape for part in package.bbox2result(torch.zeros(0, 5), torch.zeros(0), 2)] == [(0, 5)] * 2
    assert package.corner2bbox(package.bbox2corner(nothing)).shape == (0, 4)


def test_centre_and_size():
    assert package.bbox_xyxy_to_cxcywh(B).tolist() == [[5, 10, 10, 20], [10, 10, 10, 10]]
    assert torch.equal(package.bbox_cxcywh_to_xyxy(package.bbox_xyxy_to_cxcywh(B)), B)
    assert package.bbox_xyxy_to_cxcyah(B).tolist() == [[5, 10, 0.5, 20], [10, 10, 1, 10]]
    assert torch.equal(package.bbox_cxcyah_to_xyxy(package.bbox_xyxy_to_cxcyah(B)), B)
    corners = package.bbox2corner(B)
    assert corners.shape == (8, 2) and corners[:4].tolist() == [[0, 0], [10, 0], [0, 20], [10, 20]]
    assert torch.equal(package.corner2bbox(corners), B)


def test_flip():
    assert package.bbox_flip(B, (30, 40), 'diagonal').tolist() == [[30, 10, 40, 30], [25, 15, 35, 25]]
    two = package.bbox_flip(torch.arange(8.0).view(1, 8), (10, 20), 'diagonal')
    assert two.tolist() == [[18, 7, 20, 9, 14, 3, 16, 5]]
    array = package.bbox_flip(B.numpy(), (30, 40))
    assert isinstance(array, np.ndarray) and array.tolist() == [[30, 0, 40, 20], [25, 5, 35, 15]]
    for arguments in ((B, (1, 2), 'left'), (torch.zeros(1, 5), (1, 2))):
        with pytest.raises(AssertionError):
            package.bbox_flip(*arguments)


@pytest.mark.parametrize('factor', [2.0, (2, 2), [2, 2, 2, 2], np.array([2.0, 2, 2, 2])])
def test_mapping(factor):
    mapped = package.bbox_mapping(B, (30, 40), factor, True)
    assert mapped.tolist() == [[20, 0, 40, 40], [10, 10, 30, 30]]
    assert torch.equal(package.bbox_mapping_back(mapped, (30, 40), factor, True), B)
    assert torch.equal(package.bbox_mapping_back(B, (30, 40), 1.0, False), B)


def test_rescale_and_project():
    assert package.bbox_rescale(B, 2).tolist() == [[-5, -10, 15, 30], [0, 0, 20, 20]]
    assert package.bbox_rescale(torch.tensor([[3.0, 0, 0, 10, 20]]), 2).tolist() == [[3, -5, -10, 15, 30]]
    matrix = [[1, 0.1, 2], [0, 2, 3], [0.001, 0, 1]]
    expected = [[2, 2.9703, 13.8614, 43], [7.4627, 12.8079, 18.2266, 32.8358]]
    torch.testing.assert_close(package.bbox_project(B, torch.tensor(matrix)), torch.tensor(expected), rtol=1e-4, atol=0)
    clipped = package.bbox_project(B.numpy(), np.array([[1.0, 0, 2], [0, 2, 3], [0, 0, 1]]), (15, 14))
    assert isinstance(clipped, np.ndarray) and clipped.tolist() == [[2, 3, 12, 15], [7, 13, 14, 15]]


def test_rois_and_results():
    rois = package.bbox2roi([torch.zeros(0, 4), HorizontalBoxes(B), torch.full((1, 4), 3.0)])
    assert rois.tolist() == [[1, 0, 0, 10, 20], [1, 5, 5, 15, 15], [2, 3, 3, 3, 3]]
    assert [part.tolist() for part in package.roi2bbox(rois)] == [B.tolist(), [[3, 3, 3, 3]]]
    by_class = package.bbox2result(B, torch.tensor([1, 0]), 3)
    assert [part.tolist() for part in by_class] == [[[5, 5, 15, 15]], [[0, 0, 10, 20]], []]


def test_inside():
    boxes = torch.tensor([[0.0, 0, 5, 5], [41, 0, 45, 5], [-5, -5, 0, 0]])
    assert package.find_inside_bboxes(boxes, 30, 40).tolist() == [True, False, False]


def test_either_kind():
    boxes = HorizontalBoxes(B)
    assert package.get_box_tensor(boxes) is boxes.tensor and package.get_box_tensor(B) is B
    assert package.cat_boxes([B, B]).shape == (4, 4) and type(package.cat_boxes([boxes, boxes])) is HorizontalBoxes
    assert package.stack_boxes([B, B]).shape == package.stack_boxes([boxes, boxes]).shape == (2, 2, 4)
    for kind in (B, boxes):
        assert [part.tolist() for part in package.get_box_wh(kind)] == [[10, 10], [20, 10]]
        assert type(package.empty_box_as(kind)) is type(kind) and package.empty_box_as(kind).shape == (0, 4)
    assert package.scale_boxes(B, (2, 0.5)).tolist() == [[0, 0, 20, 10], [10, 2.5, 30, 7.5]]
    assert B[0, 2] == 10
    assert package.scale_boxes(boxes, (2, 0.5)) is boxes and boxes.tensor.tolist() == [
        [0, 0, 20, 10],
        [10, 2.5, 30, 7.5],
    ]
    with pytest.raises((ValueError, RuntimeError), match='non-empty list'):
        package.cat_boxes([])


@pytest.mark.parametrize('shapes', [torch.tensor([[10, 12], [3, 3]]), [(10, 12), (3, 3)], [(10, 12, 3), (3, 3, 3)]])
def test_each_image_of_a_batch_clips_to_its_own_shape(shapes):
    points = torch.tensor([[5.0, 6], [3, 3]]).expand(2, 2, 2)
    distances = torch.tensor([[7.0, 1, 50, 2], [1, 1, 1, 1]]).expand(2, 2, 4)
    expected = [[[0, 5, 12, 8], [2, 2, 4, 4]], [[0, 3, 3, 3], [2, 2, 3, 3]]]
    assert package.distance2bbox(points, distances, shapes).tolist() == expected
    one = package.distance2bbox(points[0], distances[0], torch.tensor([10, 12]))
    assert one.tolist() == package.distance2bbox(points[0], distances[0], (10, 12)).tolist() == expected[0]
