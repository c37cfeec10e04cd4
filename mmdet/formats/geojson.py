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

from ..errors import DataError
from .image_headers import BrokenImageError, read_header, read_tiff_tags
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
    from rasterio.transform import from_gcps

    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                points, points_crs = source.gcps
                transform, crs = (from_gcps(points), points_crs) if points else (source.transform, source.crs)
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
    a, b, c, d, e, f = tuple(transform)[:6]
    return Georeference((a, b, c, d, e, f), crs.to_wkt())


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
        GeoJSON: a polygon a box, its corners counterclockwise, with the properties ``class``, ``label``, ``score`` and ``bbox`` (in pixels).

    Raises:
        DataError: a box without longitude and latitude.
    """
    boxes = np.asarray(prediction['bboxes'], np.float64).reshape(-1, 4)
    corners = (
        georeference.to_lon_lat(boxes[:, [0, 1, 0, 3, 2, 3, 2, 1]].reshape(-1, 2)).round(_DECIMALS).reshape(-1, 4, 2)
    )
    features = []
    for ring, label, score, box in zip(corners, prediction['labels'], prediction['scores'], prediction['bboxes']):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = ring
        if (x2 - x0) * (y3 - y1) < (x3 - x1) * (y2 - y0):  # clockwise, where the image is mirrored on the map
            ring = ring[::-1]
        name = classes[label] if label < len(classes) else f'class {label}'
        properties = {'class': name, 'label': label, 'score': score, 'bbox': box}
        if image is not None:
            properties['image'] = image
        geometry = dict(type='Polygon', coordinates=[[*ring.tolist(), ring[0].tolist()]])
        features.append(dict(type='Feature', geometry=geometry, properties=properties))
    return dict(type='FeatureCollection', features=features)


def _world_file(path: Path) -> Path | None:
    """The world file of an image: ``a.tfw``, ``a.tifw`` or ``a.wld`` of ``a.tif``."""
    suffix = path.suffix
    if len(suffix) < 3:
        return None
    names = (f'.{suffix[1]}{suffix[-1]}w', f'{suffix}w', '.wld')
    found = (path.with_suffix(kind) for name in names for kind in (name, name.upper()))
    return next((file for file in found if file.is_file()), None)
