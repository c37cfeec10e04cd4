"""Masks of both kinds. What follows mmdetection 3.3 has its numbers; the rest is worked out by hand."""

import numpy as np
import pytest
import torch

from mmdet.core.boxes import HorizontalBoxes
from mmdet.core.masks import (
    BitmapMasks,
    PolygonMasks,
    bitmap_to_polygon,
    encode_mask_results,
    mask2bbox,
    mask_to_bitmap,
    polygon_to_bitmap,
    split_combined_polys,
)

ARRAY = np.zeros((2, 4, 5), np.uint8)
ARRAY[0, 1:3, 1:4] = 1
ARRAY[1, 0, 4] = 1


@pytest.fixture
def bitmaps():
    return BitmapMasks(ARRAY.copy(), 4, 5)


@pytest.fixture
def polygons():
    square, triangles = (
        np.array([1.0, 1, 4, 1, 4, 3, 1, 3]),
        [np.array([0, 0, 1, 0, 1, 1.0]), np.array([2, 2, 5, 2, 2, 4.0])],
    )
    return PolygonMasks([[square], triangles], 4, 5)


def rows(masks):
    return [polygon.tolist() for polygons in masks.masks for polygon in polygons]


@pytest.mark.parametrize('kind', [BitmapMasks, PolygonMasks])
def test_nothing(kind):
    masks = kind([], 4, 5)
    assert len(masks) == 0 and masks.areas.shape == (0,) and masks.bounds().shape == (0, 4)
    assert masks.to_ndarray().shape == (0, 4, 5) and masks.to_tensor(torch.bool, 'cpu').shape == (0, 4, 5)
    assert masks.get_bboxes('hbb').shape == (0, 4) and repr(masks) == f'{kind.__name__}(num_masks=0, height=4, width=5)'
    for moved, shape in (
        (masks.flip(), (4, 5)),
        (masks.rescale((8, 20)), (8, 10)),
        (masks.rescale(0.5), (2, 3)),
        (masks.resize((2, 3)), (2, 3)),
        (masks.pad((6, 7)), (6, 7)),
        (masks.crop(np.array([1, 1, 3, 4])), (3, 2)),
        (masks.expand(8, 9, 1, 2), (8, 9)),
        (masks.translate((3, 3), 1), (3, 3)),
        (masks.shear((3, 3), 0.5), (3, 3)),
        (masks.rotate((3, 3), 30), (3, 3)),
        (masks.crop_and_resize(np.zeros((0, 4)), (2, 2), np.zeros(0)), (2, 2)),
        (masks[[]], (4, 5)),
        (kind.cat([masks, masks]), (4, 5)),
    ):
        assert type(moved) is kind and len(moved) == 0 and (moved.height, moved.width) == shape


@pytest.mark.parametrize('masks', [ARRAY[0], ARRAY[:, :3], [ARRAY[0][:3]]])
def test_bitmaps_of_another_shape(masks):
    with pytest.raises(AssertionError, match=r'must be \(N, 4, 5\)'):
        BitmapMasks(masks, 4, 5)


@pytest.mark.parametrize('masks', [3, [3], [[3]], ARRAY])
def test_no_polygons(masks):
    with pytest.raises(AssertionError, match='list of lists'):
        PolygonMasks(masks, 4, 5)


@pytest.mark.parametrize(
    ('index', 'chosen'),
    [(0, [0]), (slice(1, 2), [1]), ([1, 0], [1, 0]), (np.array([False, True]), [1]), (np.array([1]), [1])],
)
def test_index(bitmaps, polygons, index, chosen):
    assert np.array_equal(bitmaps[index].masks, ARRAY[chosen])
    assert polygons[index].masks == [polygons.masks[row] for row in chosen]


def test_iteration_and_areas(bitmaps, polygons):
    assert [mask.shape for mask in bitmaps] == [(4, 5)] * 2 and [len(parts) for parts in polygons] == [1, 2]
    assert bitmaps.areas.tolist() == [6, 1] and polygons.areas.tolist() == [6, 3.5]


def test_bounds(bitmaps, polygons):
    assert bitmaps.bounds().tolist() == [[1, 1, 4, 3], [4, 0, 5, 1]] and bitmaps.bounds().dtype == np.float32
    assert polygons.bounds().tolist() == [[1, 1, 4, 3], [0, 0, 5, 4]]
    assert type(bitmaps.get_bboxes('hbox')) is type(bitmaps.get_bboxes(HorizontalBoxes)) is HorizontalBoxes
    empty = BitmapMasks(np.zeros((1, 2, 2)), 2, 2)
    assert empty.get_bboxes().tensor.tolist() == [[0, 0, 0, 0]]
    with pytest.raises(AssertionError, match='dst_type'):
        bitmaps.get_bboxes('rbox')
    assert mask2bbox(torch.from_numpy(ARRAY).bool()).tolist() == [[1, 1, 4, 3], [4, 0, 5, 1]]
    assert mask2bbox(torch.zeros(1, 3, 3)).tolist() == [[0, 0, 0, 0]] and mask2bbox(torch.zeros(0, 3, 3)).shape == (
        0,
        4,
    )


def test_flip(bitmaps, polygons):
    for direction, axes in (('horizontal', 2), ('vertical', 1), ('diagonal', (1, 2))):
        assert np.array_equal(bitmaps.flip(direction).masks, np.flip(ARRAY, axes))
        assert bitmaps.flip(direction).masks.flags.c_contiguous
    assert rows(polygons.flip())[:2] == [[4, 1, 1, 1, 1, 3, 4, 3], [5, 0, 4, 0, 4, 1]]
    assert rows(polygons.flip('diagonal'))[2] == [3, 2, 0, 2, 3, 0]
    for masks in (bitmaps, polygons):
        with pytest.raises(AssertionError, match='direction'):
            masks.flip('left')


def test_sizes(bitmaps, polygons):
    assert bitmaps.resize((8, 10)).areas.tolist() == [24, 4] and bitmaps.rescale((8, 20)).masks.shape == (2, 8, 10)
    assert bitmaps.resize((2, 3)).masks.tolist() == [[[0, 0, 0], [0, 1, 1]], [[0, 0, 0], [0, 0, 0]]]
    assert rows(polygons.resize((2, 10)))[0] == [2, 0.5, 8, 0.5, 8, 1.5, 2, 1.5]
    assert bitmaps.pad((5, 6), 2).masks[0, 4].tolist() == [2] * 6 and bitmaps.pad((5, 6)).areas.tolist() == [6, 1]
    assert rows(polygons.pad((6, 7))) == rows(polygons) and polygons.pad((6, 7)).height == 6
    assert bitmaps.expand(6, 7, 1, 2).bounds().tolist() == [[3, 2, 6, 4], [6, 1, 7, 2]]
    assert rows(polygons.expand(6, 7, 1, 2))[1] == [2, 1, 3, 1, 3, 2]


def test_crop(bitmaps, polygons):
    assert bitmaps.crop(np.array([1, 1, 3, 9])).masks.tolist() == [[[1, 1], [1, 1], [0, 0]], [[0, 0]] * 3]
    assert bitmaps.crop(np.array([4, 3, 4, 3])).masks.shape == (2, 1, 1)
    assert bitmaps.crop(np.array([-2, -2, 2, 2])).masks[0].tolist() == [[0, 0], [0, 1]]
    with pytest.raises(AssertionError, match='bbox'):
        bitmaps.crop(np.zeros((1, 4)))
    cut = polygons.crop(np.array([2, 0, 4, 2]))
    assert rows(cut) == [[0, 1, 2, 1, 2, 2, 0, 2], [0] * 6] and (cut.height, cut.width) == (2, 2)
    triangle = PolygonMasks([[np.array([0.0, 0, 4, 0, 0, 4])]], 5, 5).crop(np.array([1, 1, 5, 5]))
    assert triangle.areas.tolist() == [2] and triangle.bounds().tolist() == [[0, 0, 2, 2]]


def test_translate_into_the_same_larger_and_narrower_frames(bitmaps, polygons):
    masks = BitmapMasks(np.ones((3, 10, 10), np.uint8), 10, 10)
    assert masks.translate((10, 10), 5).areas.tolist() == [50] * 3
    assert masks.translate((20, 20), 5).bounds().tolist() == [[5, 0, 15, 10]] * 3
    assert masks.translate((20, 8), 5, 'vertical').bounds().tolist() == [[0, 5, 8, 15]] * 3
    assert bitmaps.translate((4, 5), 1, border_value=1).masks[1].sum(axis=0).tolist() == [4, 0, 0, 0, 0]
    assert rows(polygons.translate((4, 5), 1)) == [[2, 1, 5, 1, 5, 3, 2, 3], [1, 0, 2, 0, 2, 1], [3, 2, 5, 2, 3, 4]]
    with pytest.raises(AssertionError, match='direction'):
        bitmaps.translate((4, 5), 1, 'left')
    with pytest.raises(AssertionError, match='border_value'):
        polygons.translate((4, 5), 1, border_value=3)


def test_shear_and_rotate(polygons):
    assert rows(polygons.shear((4, 5), 0.5))[0] == [1.5, 1, 4.5, 1, 5, 3, 2.5, 3]
    assert rows(polygons.shear((4, 5), 0.5, 'vertical'))[0] == [1, 1.5, 4, 3, 4, 4, 1, 3.5]
    rotated = polygons.rotate((4, 5), 30, center=(0, 0), scale=1.5)
    np.testing.assert_allclose(rows(rotated)[0], [0.549038, 2.049038, 4.446152, 4, 2.946152, 4, 0, 4], atol=1e-5)
    corner = BitmapMasks(np.pad(np.ones((1, 1, 2), np.uint8), ((0, 0), (0, 4), (0, 3))), 5, 5)
    assert corner.rotate((5, 5), 90).bounds().tolist() == [[4, 0, 5, 2]]  # clockwise: top left goes to top right
    assert corner.shear((5, 5), 1, 'vertical').masks[0, :3, :2].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_both_kinds_warp_alike():
    box = np.array([[10.0, 12, 40, 30]])
    points = PolygonMasks([[box[0][[0, 1, 2, 1, 2, 3, 0, 3]]]], 64, 64)
    bitmaps = HorizontalBoxes(box).create_masks((64, 64))
    for call in (
        lambda masks: masks.rotate((64, 64), 20),
        lambda masks: masks.shear((64, 64), 0.3),
        lambda masks: masks.translate((64, 64), -4, 'vertical'),
        lambda masks: masks.crop(np.array([15, 5, 60, 25])),
        lambda masks: masks.resize((32, 96)),
        lambda masks: masks.flip('diagonal'),
    ):
        assert np.abs(call(points).bounds() - call(bitmaps).bounds()).max() <= 1
        assert call(points).areas[0] == pytest.approx(call(bitmaps).areas[0], rel=0.06)


def test_crop_and_resize(bitmaps, polygons):
    boxes = np.array([[0, 0, 2, 2.0], [2, 0, 5, 4]])
    assert rows(polygons.crop_and_resize(boxes, (4, 4), [0, 1]))[0] == [2, 2, 8, 2, 8, 6, 2, 6]
    whole = bitmaps.crop_and_resize(np.array([[0, 0, 5, 4.0]]), (4, 5), [0])
    assert np.array_equal(whole.masks[0], ARRAY[0])
    # Cells of 1.5 x 2 pixels are sampled at 2 x 2 places: by hand, x = 1.875, 2.625 | 3.375, 4.125 and y = 0, 1 | 2, 3 as pixel centres.
    soft = bitmaps.crop_and_resize(np.array([[2, 0, 5, 4.0]]), (2, 2), torch.tensor([0]), binarize=False)
    np.testing.assert_allclose(soft.masks[0], [[0.5, 0.15625], [0.5, 0.15625]], atol=1e-6)


def test_cat(bitmaps, polygons):
    other = BitmapMasks(np.ones((1, 4, 5), np.uint8), 4, 5)
    assert BitmapMasks.cat([bitmaps, other]).areas.tolist() == [6, 1, 20]
    assert BitmapMasks.cat([other, bitmaps]).areas.tolist() == [20, 6, 1]
    assert len(PolygonMasks.cat([polygons, polygons[0]])) == 3
    for wrong in (bitmaps, [bitmaps, polygons], [bitmaps, 3]):
        with pytest.raises(AssertionError, match='list of BitmapMasks'):
            BitmapMasks.cat(wrong)
    with pytest.raises(ValueError, match='at least one'):
        PolygonMasks.cat([])


def test_random_masks_follow_their_seed():
    assert np.array_equal(BitmapMasks.random(2, 3, 4, rng=0).masks, BitmapMasks.random(2, 3, 4, rng=0).masks)
    masks = PolygonMasks.random(2, 30, 40, n_verts=6, rng=np.random.RandomState(1))
    assert len(masks) == 2 and rows(masks)[0].__len__() == 12 and (masks.bounds()[:, 2:] <= [40, 30]).all()
    assert (masks.areas > 0).all()


def test_polygons_and_bitmaps(polygons):
    bitmap = polygon_to_bitmap([np.array([1.0, 1, 4, 1, 4, 3, 1, 3])], 4, 5)
    assert bitmap.dtype == bool and np.array_equal(bitmap, ARRAY[0])
    assert not polygon_to_bitmap([], 4, 5).any()
    assert polygons.to_bitmap().areas.tolist() == [6, 3] and type(polygons.to_bitmap()) is BitmapMasks
    assert bitmap_to_polygon(np.zeros((3, 3), np.uint8)) == ([], False)
    contours, has_hole = bitmap_to_polygon(ARRAY[0])
    assert contours[0].tolist() == [[1, 1], [1, 2], [2, 2], [3, 2], [3, 1], [2, 1]] and not has_hole
    ring = np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8), 1)
    assert len(bitmap_to_polygon(ring)[0]) == 2 and bitmap_to_polygon(ring)[1]


def test_run_lengths():
    codes = encode_mask_results(ARRAY)
    assert codes == [{'size': [4, 5], 'counts': b'5220003'}, {'size': [4, 5], 'counts': b'`013'}]
    assert encode_mask_results(list(torch.from_numpy(ARRAY))) == codes
    assert np.array_equal(mask_to_bitmap(codes[0], 4, 5), ARRAY[0])
    plain = dict(size=[4, 5], counts=[5, 2, 2, 2, 2, 2, 5])
    assert np.array_equal(mask_to_bitmap(plain, 4, 5), ARRAY[0]) and mask_to_bitmap(plain, 4, 5).dtype == np.uint8
    for wrong in (dict(size=[4, 5], counts=[5, 2]), dict(size=[5, 4], counts=[20])):
        with pytest.raises(ValueError, match='run lengths'):
            mask_to_bitmap(wrong, 4, 5)


def test_split_combined_polys():
    ((first, second),) = split_combined_polys([torch.arange(20.0)], [torch.tensor([6, 8, 6])], [torch.tensor([1, 2])])
    assert [len(part) for part in first] == [6] and [len(part) for part in second] == [8, 6] and second[1][0] == 14
