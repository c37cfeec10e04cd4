"""Boxes of georeferenced images as GeoJSON, with coordinates that were worked out by hand."""

import math

import numpy as np
import pytest

from mmdet.errors import DataError
from mmdet.formats.geojson import Georeference, boxes_to_geojson, is_georeferenced, read_georeference

from .image_kinds import opencv, tiff

PIXELS = np.zeros((20, 30, 3), np.uint8)


@pytest.fixture
def rasterio():
    return pytest.importorskip('rasterio', reason='rasterio, the extra "geo", is not installed')


def geotiff(rasterio, path, crs='EPSG:32633', transform=(0.5, 0, 500_000, 0, -0.5, 10)):
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=30,
        height=20,
        count=3,
        dtype='uint8',
        crs=crs,
        transform=rasterio.Affine(*transform),
    ) as file:
        file.write(PIXELS.transpose(2, 0, 1))
    return path


def prediction(*boxes):
    return dict(labels=[0] * len(boxes), scores=[0.5] * len(boxes), bboxes=[list(box) for box in boxes])


def test_no_box(rasterio, tmp_path):
    reference = read_georeference(geotiff(rasterio, tmp_path / 'a.tif'))
    assert boxes_to_geojson(prediction(), ('car',), reference) == dict(type='FeatureCollection', features=[])


def test_a_box_on_the_equator(rasterio, tmp_path):
    """UTM zone 33 has its central meridian, 15 degrees east, at 500 km; there a metre is 1 / 0.9996 of one on the ellipsoid."""
    path = geotiff(rasterio, tmp_path / 'a.tif')
    assert is_georeferenced(path)
    reference = read_georeference(path)
    assert reference.transform == (0.5, 0, 500_000, 0, -0.5, 10)
    found = boxes_to_geojson(dict(labels=[1], scores=[0.25], bboxes=[[0, 0, 20, 20]]), ('car',), reference, 'a.tif')
    (feature,) = found['features']
    east = 10 / 0.9996 / 6_378_137 * 180 / math.pi  # 20 columns of half a metre
    north = 10 / 0.9996 / (6_378_137 * (1 - 0.00669437999)) * 180 / math.pi
    expected = [[15, north], [15, 0], [15 + east, 0], [15 + east, north], [15, north]]
    assert feature['geometry']['type'] == 'Polygon'
    np.testing.assert_allclose(feature['geometry']['coordinates'], [expected], rtol=0, atol=2e-9)
    assert feature['properties'] == {
        'class': 'class 1',
        'label': 1,
        'score': 0.25,
        'bbox': [0, 0, 20, 20],
        'image': 'a.tif',
    }


@pytest.mark.parametrize(
    'transform',
    [
        (1, 0, 10, 0, -1, 50),
        (1, 0, 10, 0, 1, 30),
        (-1, 0, 40, 0, -1, 50),
        (0, 1, 10, 1, 0, 30),
        (0.8, 0.6, 10, 0.6, -0.8, 50),
    ],
)
def test_rings_are_counterclockwise_whichever_way_the_image_lies(rasterio, transform):
    reference = Georeference(transform, 'EPSG:4326')
    ((ring,),) = (
        feature['geometry']['coordinates']
        for feature in boxes_to_geojson(prediction((2, 3, 6, 5)), (), reference)['features']
    )
    a, b, c, d, e, f = transform
    corners = {(round(a * x + b * y + c, 6), round(d * x + e * y + f, 6)) for x in (2, 6) for y in (3, 5)}
    assert {tuple(np.round(point, 6)) for point in ring} == corners and ring[0] == ring[-1] and len(ring) == 5
    x, y = np.array(ring).T
    assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2 == pytest.approx(8), 'positive: counterclockwise'


@pytest.mark.parametrize(
    ('image', 'world'), [('a.tif', 'a.tfw'), ('a.png', 'a.pgw'), ('a.jpg', 'a.jgw'), ('a.jpg', 'a.wld')]
)
def test_world_files(rasterio, tmp_path, image, world):
    path = tmp_path / image
    path.write_bytes(tiff(PIXELS) if image.endswith('tif') else opencv(path.suffix, PIXELS))
    assert not is_georeferenced(path)
    # Size of a pixel, rotations, and the centre of the upper left one.
    (tmp_path / world).write_text('0.5\n0\n0\n-0.5\n10.25\n49.75\n')
    assert is_georeferenced(path)
    with pytest.raises(DataError, match=f'{image}: .*no reference system'):
        read_georeference(path)
    (tmp_path / 'a.prj').write_text(rasterio.crs.CRS.from_epsg(4326).to_wkt())
    reference = read_georeference(path)
    np.testing.assert_allclose(reference.to_lon_lat([[0, 0], [4, 2]]), [[10, 50], [12, 49]])


def test_images_without_a_place_and_faults(rasterio, tmp_path):
    (tmp_path / 'plain.tif').write_bytes(tiff(PIXELS))
    assert not is_georeferenced(tmp_path / 'plain.tif') and read_georeference(tmp_path / 'plain.tif') is None
    assert not is_georeferenced(tmp_path / 'nowhere.tif')
    (tmp_path / 'text.tif').write_text('no image')
    assert not is_georeferenced(tmp_path / 'text.tif')
    with pytest.raises(DataError, match='text.tif'):
        read_georeference(tmp_path / 'text.tif')
    far = Georeference((1e9, 0, 0, 0, 1e9, 0), 'EPSG:32633')
    with pytest.raises(DataError, match='no longitude and latitude|cannot be transformed'):
        far.to_lon_lat([[1e12, 1e12]])
