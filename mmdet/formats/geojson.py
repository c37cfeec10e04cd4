"""Georeference of an image file, and boxes in it as GeoJSON (RFC 7946): polygons in WGS 84, longitude before latitude.

rasterio (the extra ``geo``) reads GeoTIFF tags, ground control points, world files (``.tfw``, ``.jgw``, ``.pgw``, ``.wld``) and the ``.prj`` file beside them.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmdet_runtime.images import BrokenImageError

from ..errors import DataError
from .image_headers import read_header, read_tiff_tags
from .text_file import read_lines

# Of a GeoTIFF: pixel scale, tie points, transformation.
_GEO_TAGS = (33550, 33922, 34264)
_WGS84 = 'EPSG:4326'
_DECIMALS = 9  # of a degree: 0.1 mm


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of an image lie on the earth.

    Attributes:
        transform: a, b, c, d, e, f: x = a * column + b * row + c, y = d * column + e * row + f, in the units of the reference system; the upper
            left corner of the image is column 0, row 0.
        crs: the reference system as WKT.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str

    def to_lon_lat(self, points_xy: np.ndarray) -> np.ndarray:
        """Longitude and latitude (N, 2) in degrees of points (N, 2) in pixels, columns first.

        Raises:
            DataError: a point that has none in this reference system.
        """
        from rasterio import warp

        a, b, c, d, e, f = self.transform
        columns, rows = np.asarray(points_xy, np.float64).reshape(-1, 2).T
        if not len(columns):
            return np.zeros((0, 2))
        try:
            lon, lat = warp.transform(self.crs, _WGS84, a * columns + b * rows + c, d * columns + e * rows + f)
        except Exception as error:  # GDAL's errors have no public type
            raise DataError(f'its reference system cannot be transformed to WGS 84 ({error})') from error
        found = np.stack([lon, lat], axis=1)
        if not np.isfinite(found).all():
            raise DataError('a box lies where the reference system of the image has no longitude and latitude')
        return found


def is_georeferenced(path: str | os.PathLike) -> bool:
    """Whether a file is a GeoTIFF or an image with a world file beside it; this needs no rasterio."""
    path = Path(path)
    if not path.is_file():
        return False
    if _world_file(path) is not None:
        return True
    if path.suffix.lower() not in ('.tif', '.tiff'):
        return False
    with path.open('rb') as file:
        tags = read_tiff_tags(file)
    return tags is not None and any(tag in tags for tag in _GEO_TAGS)


def read_georeference(path: str | os.PathLike) -> Georeference | None:
    """The georeference of an image file; None if it states none.

    Raises:
        DataError: it states where its pixels lie but not in which reference system, or its EXIF orientation turns it.
        BrokenImageError: rasterio cannot open the file.
        ImportError: rasterio is not installed.
    """
    import rasterio
    from rasterio.crs import CRS

    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                points, points_crs = source.gcps
                transform, crs = source.transform, points_crs if points else source.crs
        prj = path.with_suffix('.prj')
        if not crs and prj.is_file():
            crs = CRS.from_wkt('\n'.join(read_lines(prj)))
    except rasterio.errors.CRSError as error:
        raise DataError(f'no reference system that rasterio reads ({error})', file=path.with_suffix('.prj')) from error
    except rasterio.errors.RasterioError as error:
        raise BrokenImageError(f'rasterio cannot open it ({error})', file=path) from error
    if not points and transform.is_identity:
        return None
    if not crs:
        message = 'its pixels have coordinates, but no reference system is stated: there is none in the file and no .prj file beside it'
        raise DataError(message, file=path)
    header = read_header(path)
    if header is not None and header.orientation != 1:
        message = 'its EXIF orientation turns the pixels, and with them the boxes, away from its georeference'
        raise DataError(message, file=path, received=header.orientation)
    if points:
        return Georeference(
            _fitted(np.array([(p.col, p.row, p.x, p.y) for p in points], np.float64), path), crs.to_wkt()
        )
    a, b, c, d, e, f = tuple(transform)[:6]
    return Georeference((a, b, c, d, e, f), crs.to_wkt())


def _fitted(points: np.ndarray, path: Path) -> tuple[float, float, float, float, float, float]:
    """The linear transformation that fits ground control points best; points (N, 4) are column, row, x and y. A line in the log says if it fits badly.

    Raises:
        DataError: fewer than three points, or points on one line.
    """
    # GDAL's own answer for two points is whatever lies in the memory.
    middle = points.mean(axis=0)
    pixels, places = points[:, :2] - middle[:2], points[:, 2:] - middle[2:]
    if np.linalg.matrix_rank(pixels) < 2 or np.linalg.matrix_rank(places) < 2:
        message = 'its ground control points must be at least three, not on one line'
        raise DataError(message, file=path, received=points[:, :2].tolist()[:4])
    matrix = np.linalg.lstsq(pixels, places, rcond=None)[0].T
    off = np.linalg.norm(np.linalg.solve(matrix, (places - pixels @ matrix.T).T), axis=0).max()
    if off > 1:
        message = (
            f'its ground control points are up to {off:.1f} pixels off the linear transformation that fits them best'
        )
        print_log(f'{path}: {message}', logger='current', level=30)
    c, f = middle[2:] - matrix @ middle[:2]
    (a, b), (d, e) = matrix.tolist()
    return a, b, float(c), d, e, float(f)


def boxes_to_geojson(
    prediction: dict[str, list], classes: Sequence[str], georeference: Georeference, image: str | None = None
) -> dict[str, Any]:
    """A feature collection of the boxes of one image.

    Args:
        prediction: ``labels`` (n), ``scores`` (n) and ``bboxes`` (n, 4) xyxy in pixels.
        classes: class names; a further class is called ``class 7`` and so on.
        georeference: of the image.
        image: a name for the property ``image``.

    Returns:
        GeoJSON: a polygon a box (two where the antimeridian cuts it), its corners counterclockwise, with the properties ``class``, ``label``, ``score`` and ``bbox`` (in pixels).

    Raises:
        DataError: a box without longitude and latitude, or around a pole.
    """
    boxes = np.asarray(prediction['bboxes'], np.float64).reshape(-1, 4)
    x1, y1, x2, y2 = boxes.T
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    # Corners and middles of the sides, so that neighbours are less than 180 degrees apart however large the box is.
    outline = np.stack([x1, y1, x1, y, x1, y2, x, y2, x2, y2, x2, y, x2, y1, x, y1], axis=1)
    places = georeference.to_lon_lat(outline.reshape(-1, 2)).reshape(-1, 8, 2)
    features = []
    for ring, label, score, box in zip(places, prediction['labels'], prediction['scores'], prediction['bboxes']):
        polygons = [[[*part, part[0]]] for part in _parts_on_the_map(ring)]
        name = classes[label] if label < len(classes) else f'class {label}'
        properties = {'class': name, 'label': label, 'score': score, 'bbox': box}
        if image is not None:
            properties['image'] = image
        geometry = (
            dict(type='Polygon', coordinates=polygons[0])
            if len(polygons) == 1
            else dict(type='MultiPolygon', coordinates=polygons)
        )
        features.append(dict(type='Feature', geometry=geometry, properties=properties))
    return dict(type='FeatureCollection', features=features)


def _parts_on_the_map(outline: np.ndarray) -> list[list[list[float]]]:
    """The corners of a box, counterclockwise, within -180..180 degrees; two polygons where the antimeridian cuts it.

    Args:
        outline: longitude and latitude (8, 2) of its corners and, between them, of the middles of its sides.
    """
    steps = (np.diff(outline[:, 0], append=outline[0, 0]) + 180) % 360 - 180
    if abs(steps.sum()) > 180:
        raise DataError('a box lies around a pole, where it is no polygon of longitude and latitude')
    lon = outline[0, 0] + np.cumsum(steps) - steps
    ring = np.stack([lon - (lon.min() + 180) // 360 * 360, outline[:, 1]], axis=1).round(_DECIMALS)[::2]
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = ring
    if (x2 - x0) * (y3 - y1) < (x3 - x1) * (y2 - y0):  # clockwise, where the image is mirrored on the map
        ring = ring[::-1]
    if ring[:, 0].max() <= 180:
        return [ring.tolist()]
    west: list[list[float]] = []
    east: list[list[float]] = []
    for (x, y), (next_x, next_y) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist()):
        if x <= 180:
            west.append([x, y])
        if x >= 180:
            east.append([x - 360, y])
        if (x - 180) * (next_x - 180) < 0:
            cut = round(y + (next_y - y) * (180 - x) / (next_x - x), _DECIMALS)
            west.append([180.0, cut])
            east.append([-180.0, cut])
    return [[[round(x, _DECIMALS), y] for x, y in part] for part in (west, east) if len(part) > 2]


def _world_file(path: Path) -> Path | None:
    """The world file of an image: ``a.tfw``, ``a.tifw`` or ``a.wld`` of ``a.tif``."""
    suffix = path.suffix
    if len(suffix) < 3:
        return None
    names = (f'.{suffix[1]}{suffix[-1]}w', f'{suffix}w', '.wld')
    found = (path.with_suffix(kind) for name in names for kind in (name, name.upper()))
    return next((file for file in found if file.is_file()), None)
