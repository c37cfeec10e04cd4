"""BaseBoxes and HorizontalBoxes: what mmdetection's users rely on; numbers of its version 3.3, where no other source is named."""

import copy

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core.boxes import BaseBoxes, HorizontalBoxes
from mmdet.core.masks import BitmapMasks, PolygonMasks

ROWS = [[0.0, 0, 10, 20], [5, 5, 15, 15]]


@pytest.fixture
def boxes():
    return HorizontalBoxes(torch.tensor(ROWS))


@pytest.mark.parametrize('data', [[], np.zeros((0, 4), np.float32), torch.zeros(2, 0, 4), torch.zeros(0)])
def test_nothing(data):
    boxes = HorizontalBoxes(data)
    assert boxes.shape == (0, 4) and len(boxes) == 0 and boxes.dtype == torch.float32
    boxes.project_(np.eye(3))
    boxes.flip_((3, 4))
    assert boxes.areas.shape == (0,) and boxes.is_inside((5, 5)).shape == (0,)
    assert HorizontalBoxes.cat([boxes, boxes]).shape == (0, 4)


def test_construction_keeps_types_and_memory_as_asked():
    array = np.array(ROWS)
    assert HorizontalBoxes(array).dtype == torch.float64 and HorizontalBoxes([[1, 2, 3, 4]]).dtype == torch.int64
    assert HorizontalBoxes(array, dtype=torch.float32).dtype == torch.float32
    HorizontalBoxes(array).tensor.zero_()
    assert array.tolist() == ROWS
    HorizontalBoxes(array, clone=False).tensor.zero_()
    assert not array.any()
    assert HorizontalBoxes([[5.0, 5, 4, 4]], in_mode='cxcywh').tensor.tolist() == [[3, 3, 7, 7]]


@pytest.mark.parametrize('data', [torch.zeros(4), torch.zeros(2, 5), torch.tensor(3.0)])
def test_other_shapes(data):
    with pytest.raises(AssertionError, match=r'boxes must be \(\.\.\., 4\)'):
        HorizontalBoxes(data)


def test_other_modes():
    with pytest.raises(ValueError, match='in_mode'):
        HorizontalBoxes(ROWS, in_mode='xywh')


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (0, [0]),
        (-1, [1]),
        (slice(1), [0]),
        ([1], [1]),
        (np.array([True, False]), [0]),
        (torch.tensor([False, False]), []),
        (torch.tensor([1, 0]), [1, 0]),
        (torch.tensor(1), [1]),
        (np.int64(1), [1]),
        (Ellipsis, [0, 1]),
    ],
)
def test_index(boxes, index, rows):
    chosen = boxes[index]
    assert type(chosen) is HorizontalBoxes
    assert chosen.tensor.tolist() == [ROWS[row] for row in rows]


@pytest.mark.parametrize('index', [(0, 0), (slice(None), 0), (Ellipsis, 0), torch.ones(2, 4, dtype=torch.bool)])
def test_an_index_leaves_the_last_dimension_alone(boxes, index):
    with pytest.raises(AssertionError, match='last dimension'):
        boxes[index]
    with pytest.raises(AssertionError, match='last dimension'):
        boxes[index] = boxes


def test_index_of_more_dimensions():
    boxes = HorizontalBoxes(torch.arange(24.0).reshape(2, 3, 4))
    assert boxes[0].shape == (3, 4) and boxes[0, ...].shape == (3, 4) and boxes[None].shape == (1, 2, 3, 4)
    assert boxes[0, 1].tensor.tolist() == [[4, 5, 6, 7]]
    assert boxes[torch.ones(2, 3, dtype=torch.bool)].shape == (6, 4)


def test_assignment(boxes):
    boxes[0] = boxes[1]
    assert boxes.tensor.tolist() == [ROWS[1], ROWS[1]]
    with pytest.raises(AssertionError, match='HorizontalBoxes'):
        boxes[0] = torch.zeros(4)


def test_boxes_are_no_tensors(boxes):
    with pytest.raises(TypeError):
        boxes + 1
    with pytest.raises(TypeError):
        torch.cat([boxes, boxes])
    with pytest.raises(TypeError, match='abstract'):
        BaseBoxes(ROWS)


@pytest.mark.parametrize(
    ('method', 'arguments', 'shape'),
    [
        ('to', (torch.float64,), (2, 3, 4)),
        ('cpu', (), (2, 3, 4)),
        ('clone', (), (2, 3, 4)),
        ('detach', (), (2, 3, 4)),
        ('view', (3, 2, 4), (3, 2, 4)),
        ('reshape', (6, 4), (6, 4)),
        ('expand', (5, 2, 3, 4), (5, 2, 3, 4)),
        ('repeat', (1, 2, 1), (2, 6, 4)),
        ('transpose', (0, 1), (3, 2, 4)),
        ('permute', (1, 0, 2), (3, 2, 4)),
        ('flatten', (), (6, 4)),
        ('unsqueeze', (0,), (1, 2, 3, 4)),
        ('squeeze', (), (2, 3, 4)),
        ('squeeze', (-1,), (2, 3, 4)),
        ('empty_boxes', (), (0, 4)),
        ('fake_boxes', ((7, 4), 2), (7, 4)),
    ],
)
def test_tensor_like_methods_keep_the_class(method, arguments, shape):
    boxes = HorizontalBoxes(torch.arange(24.0).reshape(2, 3, 4))
    result = getattr(boxes, method)(*arguments)
    assert type(result) is HorizontalBoxes and result.shape == result.size() == shape


def test_lists_of_parts():
    boxes = HorizontalBoxes(torch.arange(24.0).reshape(2, 3, 4))
    for parts in (boxes.split(1), boxes.chunk(2)):
        assert [part.shape for part in parts] == [(1, 3, 4)] * 2
    assert [part.shape for part in boxes.unbind()] == [(3, 4)] * 2
    assert HorizontalBoxes.stack([boxes, boxes], dim=1).shape == (2, 2, 3, 4)
    assert HorizontalBoxes.cat([boxes, boxes], dim=-2).shape == (2, 6, 4)


@pytest.mark.parametrize(
    'call',
    [
        lambda b: b.transpose(0, 1),
        lambda b: b.unsqueeze(-1),
        lambda b: b.unsqueeze(2),
        lambda b: b.split(2, dim=-1),
        lambda b: b.chunk(2, dim=1),
        lambda b: b.flatten(0, -1),
        lambda b: b.view(8),
        lambda b: b.repeat(1, 2),
        lambda b: b.cat([b, b], dim=-1),
        lambda b: b.cat([b, b.tensor]),
        lambda b: b.stack([b, b], dim=2),
    ],
)
def test_the_last_dimension_stays(boxes, call):
    with pytest.raises(AssertionError):
        call(boxes)


def test_join_of_nothing():
    for join in (HorizontalBoxes.cat, HorizontalBoxes.stack):
        with pytest.raises(ValueError, match='at least one'):
            join([])


def test_plain_tensors_and_numbers(boxes):
    assert boxes.dim() == 2 and boxes.numel() == 8 and boxes.size(0) == len(boxes) == 2
    assert boxes.device.type == 'cpu' and isinstance(boxes.numpy(), np.ndarray)
    for tensor in (boxes.new_zeros(3), boxes.new_ones(3), boxes.new_full((3,), 2), boxes.new_empty(3)):
        assert isinstance(tensor, torch.Tensor) and tensor.shape == (3,)
    assert boxes.new_tensor([1]).dtype == torch.float32
    assert repr(boxes).startswith('HorizontalBoxes(\ntensor([[ 0.,')
    twin = copy.deepcopy(boxes)
    twin.tensor.zero_()
    assert boxes.tensor.tolist() == ROWS


def test_geometry(boxes):
    assert boxes.widths.tolist() == [10, 10] and boxes.heights.tolist() == [20, 10]
    assert boxes.areas.tolist() == [200, 100] and boxes.centers.tolist() == [[5, 10], [10, 10]]
    assert boxes.cxcywh.tolist() == [[5, 10, 10, 20], [10, 10, 10, 10]]
    assert HorizontalBoxes.hbox2corner(boxes.tensor)[0].tolist() == [[0, 0], [10, 0], [0, 20], [10, 20]]
    assert torch.equal(HorizontalBoxes.corner2hbox(HorizontalBoxes.hbox2corner(boxes.tensor)), boxes.tensor)
    torch.testing.assert_close(HorizontalBoxes.overlaps(boxes, boxes), torch.tensor([[1, 0.2], [0.2, 1]]))


# x' = (x + 0.1 y + 2) / (0.001 x + 1), y' = (2 y + 3) / (0.001 x + 1)
MATRIX = [[1, 0.1, 2], [0, 2, 3], [0.001, 0, 1]]


@pytest.mark.parametrize(
    ('method', 'arguments', 'expected'),
    [
        ('flip_', ((30, 40),), [[30, 0, 40, 20], [25, 5, 35, 15]]),
        ('flip_', ((30, 40), 'vertical'), [[0, 10, 10, 30], [5, 15, 15, 25]]),
        ('flip_', ((30, 40), 'diagonal'), [[30, 10, 40, 30], [25, 15, 35, 25]]),
        ('translate_', ((1, 2),), [[1, 2, 11, 22], [6, 7, 16, 17]]),
        ('clip_', ((8, 9),), [[0, 0, 9, 8], [5, 5, 9, 8]]),
        ('rescale_', ((2, 0.5),), [[0, 0, 20, 10], [10, 2.5, 30, 7.5]]),
        ('resize_', ((2, 0.5),), [[-5, 5, 15, 15], [0, 7.5, 20, 12.5]]),
        ('rotate_', ((0, 0), 90), [[-20, 0, 0, 10], [-15, 5, -5, 15]]),
        (
            'rotate_',
            ((5, 10), 30),
            [[-4.330127, -1.160254, 14.330126, 21.160254], [2.5, 5.669873, 16.160254, 19.330128]],
        ),
        ('project_', (np.array(MATRIX),), [[2, 2.970297, 13.861386, 43], [7.462687, 12.807882, 18.226601, 32.835819]]),
        (
            'project_',
            (torch.tensor(MATRIX),),
            [[2, 2.970297, 13.861386, 43], [7.462687, 12.807882, 18.226601, 32.835819]],
        ),
    ],
)
def test_in_place_methods(boxes, method, arguments, expected):
    assert getattr(boxes, method)(*arguments) is None
    torch.testing.assert_close(boxes.tensor, torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=0)


def test_whole_numbers_are_scaled_like_others():
    boxes = HorizontalBoxes([[1, 2, 3, 4]])
    boxes.rescale_((0.5, 2))
    assert boxes.tensor.tolist() == [[0.5, 4, 1.5, 8]]


def test_wrong_arguments(boxes):
    for call in (
        lambda: boxes.flip_((3, 4), 'left'),
        lambda: boxes.translate_((1, 2, 3)),
        lambda: boxes.rescale_((1, 2, 3)),
        lambda: boxes.find_inside_points(torch.zeros(1, 2), is_aligned=True),
        lambda: boxes[None].find_inside_points(torch.zeros(1, 2)),
    ):
        with pytest.raises(AssertionError):
            call()
    assert boxes.tensor.tolist() == ROWS


def test_inside():
    boxes = HorizontalBoxes([[0.0, 0, 10, 20], [5, 5, 15, 15], [20, 0, 25, 5], [-5, -5, 0, 0]])
    assert boxes.is_inside((20, 20)).tolist() == [True, True, False, False]
    assert boxes.is_inside((20, 20), allowed_border=1).tolist() == [True, True, True, True]
    assert boxes.is_inside((20, 20), all_inside=True).tolist() == [False, True, False, False]
    assert boxes.is_inside((20, 20), all_inside=True, allowed_border=1).tolist() == [True, True, False, False]
    points = torch.tensor([[0.0, 0], [5, 5], [12, 12]])
    assert boxes[:2].find_inside_points(points).tolist() == [[True, False], [True, True], [False, True]]
    assert boxes[:2].find_inside_points(torch.tensor([[0.0, 0], [16, 5]]), is_aligned=True).tolist() == [True, False]


def test_masks_and_back():
    boxes = HorizontalBoxes([[1.2, 1.2, 3.7, 3.5], [-2, -2, 9, 2], [4, 4, 4, 4]])
    masks = boxes.create_masks((5, 6))
    assert masks.masks.dtype == np.uint8 and masks.areas.tolist() == [4, 12, 0]
    assert HorizontalBoxes.from_instance_masks(masks).tensor.tolist() == [[1, 1, 3, 3], [0, 0, 6, 2], [0, 0, 0, 0]]
    polygons = PolygonMasks(
        [[np.array([1.0, 1, 3, 1, 2, 2.5])], [np.array([0, 0, 1, 0, 1, 1.0]), np.full(6, 4.0)]], 8, 8
    )
    assert HorizontalBoxes.from_instance_masks(polygons).tensor.tolist() == [[1, 1, 3, 2.5], [0, 0, 4, 4]]
    assert HorizontalBoxes.from_instance_masks(BitmapMasks([], 3, 3)).shape == (0, 4)
    with pytest.raises(TypeError, match='masks must be'):
        HorizontalBoxes.from_instance_masks(np.zeros((1, 3, 3)))


def test_instance_data_keeps_the_class(boxes):
    instances = InstanceData(bboxes=boxes, labels=torch.tensor([1, 2]))
    assert type(instances[[True, False]].bboxes) is HorizontalBoxes
    assert InstanceData.cat([instances, instances]).bboxes.shape == (4, 4)
