"""Rendering the mosaic, and the way of boxes there and back."""

import numpy as np
import pytest
import torch

from mmdet.core.ufp import (
    UnifiedForegroundPacking,
    boxes_to_image,
    boxes_to_mosaic,
    image_to_mosaic,
    match_rects,
    mosaic_to_image,
    pixel_regions,
    render_mosaic,
    whole_image,
)  # fmt: skip
from mmdet.errors import ModelInputError
from mmdet.ops import nms

TILE = np.array([[90, 92.5, 60, 45, 0, 0, 2]])


def test_floors():
    assert pixel_regions(TILE).tolist() == [[90, 92, 60, 45, 0, 0, 2]]
    fractions = torch.tensor([[1.9, 2.1, 3.7, 4.2, 5.5, 6.6, 0.75]], dtype=torch.float64)
    assert pixel_regions(fractions).tolist() == [[1, 2, 3, 4, 5, 6, 0.75]]
    assert torch.equal(pixel_regions(pixel_regions(fractions)), pixel_regions(fractions))
    assert pixel_regions(np.zeros((0, 7))).shape == (0, 7) and pixel_regions(torch.zeros(0, 7)).shape == (0, 7)


@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float64', 'float16'])
@pytest.mark.parametrize('kind', ['array', 'tensor', 'grey', 'one channel'])
def test_zoom_is_bilinear_with_half_pixel_centres(kind, dtype):
    pixels = np.array([[0, 100], [100, 200]]).astype(dtype)
    regions = np.array([[0, 0, 2, 2, 1, 1, 4]])
    image = {'grey': pixels, 'one channel': pixels[..., None]}.get(kind, np.stack([pixels] * 3, axis=-1))
    if kind == 'tensor':
        mosaic = render_mosaic(torch.from_numpy(image).permute(2, 0, 1), regions, 9, 9, fill=7)
        assert mosaic.shape == (3, 9, 9)
        mosaic = mosaic.permute(1, 2, 0).numpy()
    else:
        mosaic = render_mosaic(image, regions, 9, 9, fill=7)
    assert mosaic.dtype == dtype and mosaic.shape == (9, 9, *image.shape[2:])
    mosaic = mosaic.reshape(9, 9, -1)[..., -1].astype(float)
    np.testing.assert_allclose(
        mosaic[1, 1:], [0, 0, 12.5, 37.5, 62.5, 87.5, 100, 100], atol=1 if dtype == 'uint8' else 0.1
    )
    assert (mosaic[0] == 7).all() and (mosaic[:, 0] == 7).all()
    np.testing.assert_allclose(mosaic[1:, 1], mosaic[1, 1:], atol=1)  # the image is symmetric


def test_tiles_come_from_their_regions_and_the_rest_is_black():
    image = np.random.default_rng(0).integers(1, 255, (60, 80, 3), dtype=np.uint8)
    regions = np.array([[10.5, 20.2, 30.9, 10.1, 0, 0, 1], [5, 5, 4, 6, 30.9, 0, 2], [0, 0, 0.5, 9, 0, 11, 4]])
    mosaic = render_mosaic(image, regions, 38.9, 12.2)
    assert mosaic.shape == (13, 39, 3)
    np.testing.assert_array_equal(mosaic[:10, :30], image[20:30, 10:40])
    assert (mosaic[:12, 30:38] > 0).all()
    assert (mosaic[10:, :30] == 0).all() and (mosaic[:, 38:] == 0).all() and (mosaic[12:] == 0).all()
    as_tensor = render_mosaic(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(regions), 38.9, 12.2)
    assert np.abs(as_tensor.permute(1, 2, 0).numpy().astype(int) - mosaic).max() <= 1


def test_exact_mode_loses_no_pixel():
    """Every pixel of every region is in the mosaic, and the tiles are the whole of what is not black."""
    rng = np.random.default_rng(1)
    image = torch.from_numpy(rng.integers(1, 255, (3, 300, 400)).astype(np.uint8))
    corner = rng.random((25, 2)) * [380, 280]
    boxes = np.hstack([corner, corner + rng.uniform(3, 30, (25, 2))])
    regions, width, height = UnifiedForegroundPacking(boxes, 1.5, (400, 300), mode='exact')
    mosaic = render_mosaic(image, regions, width, height)
    assert mosaic.shape == (3, height, width)
    assert int((mosaic > 0).all(dim=0).sum()) == (regions[:, 2] * regions[:, 3] * regions[:, 6] ** 2).sum()
    assert torch.equal(render_mosaic(image, whole_image((400, 300)), 400, 300), image)


@pytest.mark.parametrize('zoom', [0.4, 0.5, 0.75, 1.3])
def test_zooms_that_are_no_whole_numbers_keep_to_the_map(zoom):
    """A brightness that rises with x: the value at a mosaic pixel is that of the place that the box map names."""
    ramp = np.tile(np.arange(101, dtype=np.float32), (50, 1))[..., None]
    regions = np.array([[0, 0, 101, 50, 0, 0, zoom]])
    for image in (ramp, torch.from_numpy(ramp).permute(2, 0, 1)):
        mosaic = render_mosaic(image, regions, 101 * zoom, 50 * zoom)
        row = np.asarray(mosaic).reshape(mosaic.shape[-2:] if isinstance(image, torch.Tensor) else mosaic.shape[:2])[5]
        columns = np.arange(2, int(101 * zoom) - 2)
        np.testing.assert_allclose(row[columns], (columns + 0.5) / zoom - 0.5, atol=2e-3)


def test_tiles_touch_every_edge():
    """A region of the whole image, wider than high, fills its mosaic to the last row and column, and only regions of zoom 1 are copies."""
    image = np.random.default_rng(0).random((2, 3, 1))
    for given in (image, torch.from_numpy(image).permute(2, 0, 1)):
        mosaic = render_mosaic(given, np.array([[0, 0, 3, 2, 0, 0, 1]]), 3, 2)
        assert mosaic.shape == given.shape and (mosaic == given).all()
        twice = render_mosaic(given, np.array([[0, 0, 3, 2, 1, 2, 2]]), 7, 6)
        rows = np.asarray(twice).reshape(6, 7)
        # float64 is computed in float64: corners are the corner pixels to the last digit.
        assert rows[2, 1] == image[0, 0, 0] and rows[5, 6] == image[1, 2, 0] and (rows[:2] == 0).all()
        assert rows[2, 2] == pytest.approx(0.75 * image[0, 0, 0] + 0.25 * image[0, 1, 0], rel=1e-12)
        assert rows[3, 1] == pytest.approx(0.75 * image[0, 0, 0] + 0.25 * image[1, 0, 0], rel=1e-12)


def test_tiles_of_one_row_and_one_column_are_pasted():
    image = np.arange(1, 13, dtype=np.uint8).reshape(3, 4, 1)
    regions = np.array(
        [
            [1, 1, 3, 1, 0, 0, 1],
            [2, 0, 1, 3, 3, 0, 1],
            [0, 0, 1, 1, 0, 1, 1],
            [0, 0, 0.9, 3, 0, 0, 1],
            [0, 0, 4, 0.9, 0, 0, 1],
        ]
    )
    expected = [[6, 7, 8, 3], [1, 0, 0, 7], [0, 0, 0, 11]]
    assert render_mosaic(image, regions, 4, 3)[..., 0].tolist() == expected
    assert render_mosaic(torch.from_numpy(image).permute(2, 0, 1), regions, 4, 3)[0].tolist() == expected


def test_nothing_to_render():
    assert render_mosaic(torch.zeros(3, 9, 9), torch.zeros(0, 7), 0.0, 0.0).shape == (3, 0, 0)
    assert render_mosaic(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 7)), 0.0, 0.0).shape == (0, 0, 3)


def test_mosaic_on_the_device(device):
    image = torch.rand(3, 200, 300)
    regions, width, height = UnifiedForegroundPacking([(10, 10, 40, 30), (150, 100, 160, 120)], 1.5, (300, 200))
    mosaic = render_mosaic(image.to(device), regions, width, height)
    assert mosaic.device.type == device
    torch.testing.assert_close(mosaic.cpu(), render_mosaic(image, regions, width, height), atol=1e-5, rtol=0)
    bytes_mosaic = render_mosaic((image * 255).byte().to(device), torch.from_numpy(regions).to(device), width, height)
    assert bytes_mosaic.dtype == torch.uint8 and bytes_mosaic.device.type == device


def test_mapping_on_the_device(device):
    boxes = torch.tensor([[0.0, 0, 9, 9], [100, 100, 140, 130]], device=device)
    for regions in (TILE, torch.as_tensor(TILE).to(device)):
        mapped, box, region = boxes_to_mosaic(boxes, regions)
        assert mapped.device.type == box.device.type == region.device.type == device
        assert mapped.tolist() == [[20, 16, 100, 76]] and box.tolist() == [1]
        assert boxes_to_image(mapped, regions)[0].tolist() == [[100, 100, 140, 130]]


@pytest.mark.parametrize(
    ('image', 'row'),
    [
        (np.zeros((9, 9, 3), np.int32), [0, 0, 2, 2, 0, 0, 1]),
        (torch.zeros(9, 9), [0, 0, 2, 2, 0, 0, 1]),
        (np.zeros((9, 9, 3), np.uint8), [8, 0, 2, 2, 0, 0, 1]),
        (np.zeros((9, 19, 3), np.uint8), [0, 8, 2, 2, 0, 0, 1]),
        (torch.zeros(3, 19, 9), [8, 0, 2, 2, 0, 0, 1]),
        (np.zeros((9, 9, 3), np.uint8), [0, 0, 2, 2, 0, 5, 4]),
        (torch.zeros(3, 9, 9), [-1, 0, 2, 2, 0, 0, 1]),
        (torch.zeros(3, 9, 9), [0, 0, 2, 2, -1, 0, 1]),
        (torch.zeros(3, 9, 9), [0, 0, 2, 2, 0, -1, 1]),
        (np.zeros(9, np.uint8), [0, 0, 2, 2, 0, 0, 1]),
        (np.zeros((9, 9, 3), np.uint8), [0, 0, 2, 2, 5, 0, 4]),
        (torch.zeros(3, 9, 9), [0, -1, 2, 2, 0, 0, 1]),
    ],
)
def test_wrong_images_and_regions(image, row):
    with pytest.raises(ModelInputError):
        render_mosaic(image, np.array([row]), 8, 8)


def test_mapping_by_hand():
    assert mosaic_to_image(np.array([[20.0, 10, 60, 50]]), TILE).tolist() == [[100, 97, 120, 117]]
    assert image_to_mosaic(np.array([[100, 100, 140, 130]]), TILE).tolist() == [[20, 16, 100, 76]]
    mapped, box, region = boxes_to_mosaic(torch.tensor([[0.0, 0, 9, 9], [100, 100, 140, 130]]), TILE)
    assert mapped.tolist() == [[20, 16, 100, 76]] and box.tolist() == [1] and region.tolist() == [0]
    mapped, box, region = boxes_to_image(mapped, TILE)
    assert mapped.tolist() == [[100, 100, 140, 130]] and mapped.dtype == torch.float32 and box.tolist() == [0]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_membership(dtype):
    boxes = torch.tensor(
        [[20, 10, 80, 60], [21, 10, 121, 60], [30, 10, 130, 60], [100, 10, 140, 50], [20, 20, 20, 40]], dtype=dtype
    )
    rect = torch.tensor([[0, 0, 120, 90]], dtype=dtype)
    assert match_rects(boxes, rect)[1].tolist() == [0, 1]
    assert boxes_to_image(boxes, TILE)[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    'box', [[30, 40, 30.5, 40.5], [-9, -9, -1, -1], [20, 0, 30, 10], [0, 20, 10, 30], [5, 5, 5, 9]]
)
def test_what_lies_outside_does_not_match(box):
    """Diagonally apart, both extents of the overlap are negative, and their product is not an area."""
    rects = torch.tensor([[0.0, 0, 10, 10]])
    assert [len(index) for index in match_rects(torch.tensor([box]), rects)] == [0, 0]
    assert match_rects(torch.tensor([[0.0, 0, 0.5, 0.5]]), rects)[1].tolist() == [0]
    assert match_rects(torch.tensor([[5.0, 0, 15, 5]]), rects, 0.4)[1].tolist() == [0]
    assert match_rects(torch.tensor([[5.0, 0, 15, 5]]), rects, 0.5)[1].tolist() == []


def test_integers_are_mapped_to_fractions():
    regions = np.array([[10, 20, 30, 40, 50, 60, 4]])
    boxes = np.array([[51, 62, 57, 69]])
    expected = [[10.25, 20.5, 11.75, 22.25]]
    for given in (boxes, torch.from_numpy(boxes), boxes.tolist(), boxes.astype(np.uint8)):
        mapped, box, _ = boxes_to_image(given, regions)
        assert mapped.tolist() == mosaic_to_image(given, regions).tolist() == expected
        assert str(mapped.dtype).endswith('float64') and isinstance(mapped, torch.Tensor) == isinstance(
            given, torch.Tensor
        )
    half = torch.tensor([[0.0, 0, 1, 1]], dtype=torch.float16)
    assert mosaic_to_image(half, np.array([[3000, 0, 9, 9, 0, 0, 2]])).tolist() == [
        [3000, 0, 3000, 0.5]
    ]  # computed in float64


def test_mapping_of_each_axis():
    regions = torch.tensor([[10.9, 20.9, 30.9, 40.9, 100.9, 200.9, 2]])  # floored, all but the zoom
    assert image_to_mosaic(torch.tensor([[11.0, 22, 13, 24]]), regions).tolist() == [[102, 204, 106, 208]]
    assert mosaic_to_image(torch.tensor([[102.0, 204, 106, 208]]), regions).tolist() == [[11, 22, 13, 24]]
    mapped, box, region = boxes_to_mosaic(torch.tensor([[5.0, 5, 70, 90]]), regions, clip=True)
    assert mapped.tolist() == [[100, 200, 160, 280]] and box.tolist() == region.tolist() == [0]


def test_matches_come_by_region_and_once_for_each():
    regions = np.array([[0, 0, 10, 10, 0, 0, 4], [50, 50, 10, 10, 40, 0, 4.0]])
    boxes = np.array([[0, 0, 80, 40], [45, 5, 60, 20], [4, 4, 8, 8.0], [35, 0, 45, 10]])
    mapped, box, region = boxes_to_image(boxes, regions)
    assert box.tolist() == [0, 2, 0, 1] and region.tolist() == [0, 0, 1, 1]
    assert mapped[0].tolist() == [0, 0, 20, 10] and mapped[3].tolist() == [51.25, 51.25, 55, 55]


def test_clipping_to_the_tile():
    boxes = np.array([[85.0, 95, 149, 140]])
    mapped, *_ = boxes_to_mosaic(boxes, TILE)
    assert mapped.tolist() == [[-10, 6, 118, 96]]
    mapped, *_ = boxes_to_mosaic(boxes, TILE, clip=True)
    assert mapped.tolist() == [[0, 6, 118, 90]]


@pytest.mark.parametrize(
    'options', [{}, dict(mode='exact'), dict(mode='exact', packing='dense', max_side=500)], ids=str
)
def test_there_and_back(options):
    rng = np.random.default_rng(2)
    corner = rng.random((150, 2)) * [1880, 1040]
    boxes = np.hstack([corner, corner + rng.uniform(4, 40, (150, 2))])
    regions, *_ = UnifiedForegroundPacking(boxes, 1.5, (1920, 1080), **options)
    mapped, box, region = boxes_to_mosaic(boxes.astype(np.float32), regions)
    if options:
        assert set(box) == set(range(150)), 'every box lies in the region that grew from it'
    else:
        assert len(set(box)) >= 145, 'floors and the clipped last row and column may cost a box at the border its match'
    np.testing.assert_allclose(mosaic_to_image(mapped, regions[region]), boxes[box], atol=1e-3)
    back, index, region_back = boxes_to_image(mapped, regions)
    own = region_back == region[index]
    assert set(index[own]) == set(range(len(mapped)))
    np.testing.assert_allclose(back[own], boxes[box[index[own]]], atol=1e-3)


def test_nothing_to_map():
    for boxes, regions in (([], TILE), (np.zeros((0, 4)), TILE), (np.array([[0, 0, 5, 5.0]]), np.zeros((0, 7)))):
        for function in (boxes_to_image, boxes_to_mosaic):
            mapped, box, region = function(boxes, regions)
            assert mapped.shape == (0, 4) and len(box) == len(region) == 0
    with pytest.raises(ModelInputError, match='boxes'):
        boxes_to_image(np.zeros((2, 5)), TILE)
    with pytest.raises(ModelInputError, match='regions'):
        boxes_to_image(np.zeros((2, 4)), TILE[:, :6])


def test_merging_counts_sides_inclusively():
    """The convention of the original's last step is the ``offset`` of mmdet.ops.nms."""
    scores = torch.tensor([0.9, 0.8, 0.7])
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 7]])
    assert nms(boxes, scores[:2], 0.6, offset=1).tolist() == [0] and nms(boxes, scores[:2], 0.6).tolist() == [0, 1]
    assert nms(boxes, scores[:2], 0.6, offset=1, labels=torch.tensor([0, 1])).tolist() == [0, 1]
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 12], [0, 0, 9, 19]])
    assert nms(boxes, scores, 0.6, offset=1).tolist() == [0, 2]
