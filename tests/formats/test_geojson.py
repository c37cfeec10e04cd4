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


WEST, EAST = [(179, 10), (179, 8), (180, 8), (180, 10)], [(-180, 8), (-179, 8), (-179, 10), (-180, 10)]


@pytest.mark.parametrize(
    ('left', 'width', 'expected'),
    [
        (179, 2, [WEST, EAST]),
        (-181, 2, [WEST, EAST]),
        (179, 1, [WEST]),
        (180, 1, [EAST]),
        (539, 1, [WEST]),
        (-100, 220, [[(-100, 10), (-100, 8), (120, 8), (120, 10)]]),
    ],
)
def test_the_antimeridian_cuts_a_box_in_two(rasterio, left, width, expected):
    reference = Georeference((width / 2, 0, left, 0, -1, 10), 'EPSG:4326')
    (feature,) = boxes_to_geojson(prediction((0, 0, 2, 2)), (), reference)['features']
    geometry = feature['geometry']
    assert geometry['type'] == ('Polygon' if len(expected) == 1 else 'MultiPolygon')
    polygons = [geometry['coordinates']] if len(expected) == 1 else geometry['coordinates']
    assert len(polygons) == len(expected)
    for (ring,), corners in zip(polygons, expected):
        assert ring[0] == ring[-1] and len(ring) == 5 and {tuple(point) for point in ring} == set(corners)
        x, y = np.array(ring).T
        assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0, 'counterclockwise'


def test_projected_images_at_the_antimeridian_and_the_pole(rasterio):
    utm = Georeference((1000, 0, 165_000, 0, -1000, 1000), 'EPSG:32601')
    (feature,) = boxes_to_geojson(prediction((0, 0, 20, 20)), (), utm)['features']
    (west,), (east,) = feature['geometry']['coordinates']
    assert min(x for x, _ in west) > 179.9 and max(x for x, _ in east) < -179.8
    pole = Georeference((10_000, 0, -100_000, 0, -10_000, 100_000), 'EPSG:3413')
    with pytest.raises(DataError, match='around a pole'):
        boxes_to_geojson(prediction((0, 0, 20, 20)), (), pole)


@pytest.mark.filterwarnings('ignore:Dataset has no geotransform')
@pytest.mark.parametrize(
    ('points', 'expected'),  # row, column, longitude, latitude
    [
        ([(0, 0, 10, 50), (0, 30, 13, 50), (20, 0, 10, 48)], (0.1, 0, 10, 0, -0.1, 50)),
        ([(0, 0, 10, 50), (0, 30, 13, 50), (20, 0, 10, 48), (20, 30, 13, 48)], (0.1, 0, 10, 0, -0.1, 50)),
        ([(0, 0, 10, 50), (0, 30, 13, 50), (20, 0, 10, 48), (20, 30, 14, 48)], 'up to 2.1 pixels'),
        ([(0, 0, 10, 50), (0, 30, 13, 50)], DataError),
        ([(0, 0, 10, 50), (10, 15, 11, 49), (20, 30, 12, 48)], DataError),
    ],
)
def test_ground_control_points(rasterio, tmp_path, points, expected, monkeypatch):
    said = []
    monkeypatch.setattr('mmdet.formats.geojson.print_log', lambda message, **_: said.append(message))
    options = dict(driver='GTiff', width=30, height=20, count=3, dtype='uint8')
    with rasterio.open(tmp_path / 'a.tif', 'w', **options) as file:
        file.write(PIXELS.transpose(2, 0, 1))
        file.gcps = (
            [rasterio.control.GroundControlPoint(*point) for point in points],
            rasterio.crs.CRS.from_epsg(4326),
        )
    assert is_georeferenced(tmp_path / 'a.tif')
    if expected is DataError:
        with pytest.raises(DataError, match='a.tif: its ground control points must be at least three, not on one line'):
            read_georeference(tmp_path / 'a.tif')
        return
    found = read_georeference(tmp_path / 'a.tif').transform
    if isinstance(expected, str):
        assert expected in said[0]
    else:
        assert found == pytest.approx(expected, abs=1e-12) and not said


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
