import pytest
import torch

from mmdet.core.boxes import (
    BboxOverlaps2D,
    DistancePointBBoxCoder,
    HorizontalBoxes,
    bbox2distance,
    bbox_overlaps,
    clip_boxes,
    distance2bbox,
    get_box_wh,
    scale_boxes,
)
from mmdet.utils import ModelInputError


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ('mode', 'offset', 'first', 'second', 'expected'),
    [
        ('iou', 0, [0, 0, 10, 10], [5, 5, 15, 20], 25 / 225),
        ('iou', 0, [0, 0, 2, 2], [5, 5, 7, 7], 0.0),
        ('iou', 0, [3, 3, 3, 3], [3, 3, 3, 3], 0.0),
        ('iou', 1, [0, 0, 9, 9], [0, 0, 9, 19], 0.5),
        ('iou', 1, [3, 3, 3, 3], [3, 3, 3, 3], 1.0),
        ('iof', 0, [0, 0, 10, 10], [5, 0, 100, 100], 0.5),
        ('iof', 0, [5, 0, 100, 100], [0, 0, 10, 10], 5 / 950),
        ('iof', 1, [0, 0, 9, 9], [0, 0, 4, 9], 0.5),
        ('giou', 0, [0, 0, 10, 10], [5, 5, 15, 20], 25 / 225 - 75 / 300),
        ('giou', 0, [20, 30, 30, 40], [25, 35, 35, 50], 25 / 225 - 75 / 300),
        ('giou', 1, [20, 30, 29, 39], [30, 30, 39, 39], 0.0),  # inclusive pixels: side by side, no gap
        # Boxes smaller than eps: the union and the enclosing area are taken as 1e-6.
        ('iou', 0, [0, 0, 1e-4, 1e-4], [0, 0, 1e-4, 1e-4], 0.01),
        ('iof', 0, [0, 0, 1e-4, 1e-4], [0, 0, 1e-4, 1e-4], 0.01),
        ('giou', 0, [0, 0, 1e-4, 1e-4], [0, 0, 1e-4, 1e-4], 0.01),
        ('giou', 0, [5, 5, 5, 5], [5, 5, 5, 5], 0.0),
        ('giou', 0, [0, 0, 2, 2], [5, 5, 7, 7], -41 / 49),
        ('giou', 0, [0, 0, 4, 4], [0, 0, 4, 4], 1.0),
    ],
)
def test_overlaps_by_hand(mode, offset, first, second, expected):
    aligned = bbox_overlaps(boxes(first), boxes(second), mode, is_aligned=True, offset=offset)
    pairwise = bbox_overlaps(boxes(first), boxes(second), mode, offset=offset)
    torch.testing.assert_close(aligned, torch.tensor([expected]), rtol=0, atol=1e-6)
    torch.testing.assert_close(pairwise, torch.tensor([[expected]]), rtol=0, atol=1e-6)


def test_every_pair_has_its_place():
    first, second = boxes([0, 0, 4, 4], [0, 0, 2, 2]), boxes([0, 0, 4, 2], [2, 2, 4, 4], [9, 9, 10, 10])
    expected = {'iou': [[0.5, 0.25, 0], [0.5, 0, 0]], 'iof': [[0.5, 0.25, 0], [1, 0, 0]]}
    for mode, rows in expected.items():
        torch.testing.assert_close(bbox_overlaps(first, second, mode), torch.tensor(rows))
    assert bbox_overlaps(first, second[:2], 'iof', is_aligned=True).tolist() == [0.5, 0]
    assert bbox_overlaps(first, second, eps=32).tolist() == [[0.25, 0.125, 0], [0.125, 0, 0]]


def test_calculator_ignores_scores_and_adds_its_offset():
    first, second = torch.tensor([[0.0, 0, 9, 9, 0.7]]), torch.tensor([[0.0, 0, 9, 19, 0.2]])
    assert BboxOverlaps2D(offset=1)(first, second).tolist() == [[0.5]]
    assert BboxOverlaps2D()(first, second).tolist() == [[pytest.approx(81 / 171)]]
    assert BboxOverlaps2D(offset=1)(second, first, mode='iof', is_aligned=True).tolist() == [0.5]


def test_overlaps_of_nothing():
    nothing, some = boxes(), boxes([0, 0, 1, 1], [1, 1, 2, 2])
    assert bbox_overlaps(nothing, some).shape == (0, 2)
    assert bbox_overlaps(some, nothing, 'giou').shape == (2, 0)
    assert bbox_overlaps(nothing, nothing, is_aligned=True).shape == (0,)
    assert bbox_overlaps(torch.zeros(3, 0, 4), torch.zeros(3, 2, 4)).shape == (3, 0, 2)


def test_overlaps_of_a_batch_equals_one_by_one():
    first, second = torch.rand(2, 5, 4).cumsum(-1), torch.rand(2, 3, 4).cumsum(-1)
    batch = bbox_overlaps(first, second, 'giou')
    assert torch.equal(batch[1], bbox_overlaps(first[1], second[1], 'giou'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(bboxes1=boxes(), bboxes2=boxes(), mode='diou'), 'mode'),
        (dict(bboxes1=torch.zeros(2, 5), bboxes2=boxes()), 'bboxes1.*4 columns'),
        (dict(bboxes1=boxes(), bboxes2=torch.zeros(2, 5)), 'bboxes2.*4 columns'),
        (dict(bboxes1=torch.zeros(2, 4), bboxes2=torch.zeros(3, 4), is_aligned=True), 'equally many'),
    ],
)
def test_overlaps_refuses(arguments, message):
    with pytest.raises(ModelInputError, match=message):
        bbox_overlaps(**arguments)


def test_distances_by_hand():
    point = torch.tensor([[5.0, 5.0]])
    assert bbox2distance(point, boxes([0, 7, 30, 9])).tolist() == [[5, -2, 25, 4]]
    torch.testing.assert_close(bbox2distance(point, boxes([0, 7, 30, 9]), 16), torch.tensor([[5, 0, 15.9, 4]]))
    assert distance2bbox(point, boxes([6, 2, 30, 3])).tolist() == [[-1, 3, 35, 8]]
    assert distance2bbox(point, boxes([6, 2, 30, 3]), (8, 20)).tolist() == [[0, 3, 20, 8]]
    assert distance2bbox(point[:0], boxes()).shape == (0, 4)
    images = torch.stack([point, point + 10])  # two images of one point each
    distances = bbox2distance(images, torch.stack([boxes([0, 7, 30, 9]), boxes([12, 12, 19, 20])]))
    assert distances.tolist() == [[[5, -2, 25, 4]], [[3, 3, 4, 5]]]
    assert distance2bbox(images, distances, torch.tensor([18, 29])).tolist() == [[[0, 7, 29, 9]], [[12, 12, 19, 18]]]


def test_coder_inverts_itself():
    points, target = torch.tensor([[4.0, 6.0], [0.0, 0.0]]), boxes([1, 2, 9, 8], [-3, -1, 2, 5])
    coder = DistancePointBBoxCoder()
    assert torch.equal(coder.decode(points, coder.encode(points, target)), target)
    assert coder.decode(points, coder.encode(points, target), (4, 6)).tolist() == [[1, 2, 6, 4], [0, 0, 2, 4]]
    torch.testing.assert_close(coder.encode(points, target, 5), torch.tensor([[3, 4, 4.9, 2], [3, 1, 2, 4.9]]))
    torch.testing.assert_close(coder.encode(points, target, 5, 0.5)[:, 2], torch.tensor([4.5, 2]))
    unclipped = DistancePointBBoxCoder(clip_border=False)
    assert torch.equal(unclipped.decode(points, unclipped.encode(points, target), (4, 4)), target)


def test_coder_returns_boxes_of_the_class_when_asked():
    points, sides = torch.tensor([[5.0, 6]]), torch.tensor([[1.0, 2, 3, 4]])
    decoded = DistancePointBBoxCoder(use_box_type=True).decode(points, sides)
    assert isinstance(decoded, HorizontalBoxes) and decoded.tensor.tolist() == [[4, 4, 8, 10]]
    assert DistancePointBBoxCoder().encode(points, decoded).tolist() == sides.tolist()


def test_box_helpers():
    box = boxes([-5, 2, 30, 9])
    assert clip_boxes(box, (8, 20, 3)).tolist() == [[0, 2, 20, 8]]
    assert clip_boxes(boxes([25, 9, 30, 12], [-4, -3, -2, -1]), (8, 20)).tolist() == [[20, 8, 20, 8], [0, 0, 0, 0]]
    assert scale_boxes(box, (2, 0.5)).tolist() == [[-10, 1, 60, 4.5]]
    width, height = get_box_wh(box)
    assert (width.item(), height.item()) == (35, 7)


def test_overlaps_accept_scores_and_batches():
    """Columns of scores are ignored; the images of a batch are compared one by one."""
    calculator = BboxOverlaps2D()
    scored = torch.tensor([[0.0, 0, 10, 20, 0.9], [5, 5, 15, 15, 0.8]])
    expected = torch.tensor([[1, 0.2], [0.2, 1]])
    torch.testing.assert_close(calculator(scored, scored[:, :4]), expected)
    torch.testing.assert_close(calculator(HorizontalBoxes(scored[:, :4]), scored), expected)
    batch = torch.stack([scored[:, :4], scored[:, :4].flip(0)])
    assert torch.equal(bbox_overlaps(batch, batch)[1], bbox_overlaps(batch[1], batch[1]))
    assert bbox_overlaps(batch, batch[:, :1]).shape == (2, 2, 1)
    assert bbox_overlaps(batch[:, :0], batch).shape == (2, 0, 2)
    assert bbox_overlaps(batch, batch, is_aligned=True).tolist() == [[1, 1], [1, 1]]
    assert repr(calculator) == 'BboxOverlaps2D(scale=1.0, dtype=None)'


def test_overlaps_in_half_precision():
    first, second = torch.tensor([[0.0, 0, 1000.3, 20]]), torch.tensor([[0.0, 0, 1000.3, 10]])
    assert BboxOverlaps2D(scale=2.0, dtype='fp16')(first, second).item() == pytest.approx(0.5)
    assert BboxOverlaps2D(dtype='fp16')(first, second * 1.0001).item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match='fp16'):
        BboxOverlaps2D(dtype='fp8')


@pytest.mark.parametrize(
    ('first', 'second', 'options'),
    [
        ((2, 4), (2, 4), dict(mode='diou')), ((2, 3), (2, 4), {}), ((2, 4), (3, 4), dict(is_aligned=True)), ((2, 5), (2, 4), {}),
        ((2, 2, 4), (3, 2, 4), {}), ((2, 2, 4), (2, 4), {}),
    ],
)  # fmt: skip
def test_wrong_overlap_arguments_are_assertion_errors_too(first, second, options):
    with pytest.raises(AssertionError) as error:
        bbox_overlaps(torch.zeros(first), torch.zeros(second), **options)
    assert isinstance(error.value, ValueError)
