"""Whether a detector would find the objects of a data set better on tiles, and on which.

Letters: n boxes, I images.
"""

from dataclasses import dataclass

import numpy as np

from ..core.ufp import UnifiedForegroundPacking
from .dataset_inputs import SMALL, InputSize, sample_boxes

# Where most objects are small by COCO's measure, AP is that of small objects.
SMALL_SHARE = 0.5
# Zoom of tiles: pixels are not made by enlarging, and four is the largest zoom of unified foreground packing.
LARGEST_ZOOM = 4.0
# A tile must hold objects whole: four times as long as nearly all (95 %) of them.
OBJECTS_A_TILE = 4.0
# Tiles that are nearly as large as the image are the image.
TILE_OF_IMAGE = 0.75
# Foreground regions can be zoomed twice (four times the area) and still fit in the area of the image.
FOREGROUND_SHARE = 0.25
FOREGROUND_IMAGES = 100  # images whose foreground is packed, evenly spaced
TILE_STEP = 32  # pixels: sizes of tiles are multiples of the coarsest usual stride


@dataclass
class TileAdvice:
    """Whether tiles would help.

    Attributes:
        small_share: share of the objects below 32 x 32 pixels at the input size.
        median: median side of the objects, in pixels of the image.
        tile: side of the tiles in pixels of the image; 0 if they would not help.
        overlap: share of a tile that the next one repeats.
        zoom: by which a tile is enlarged.
        foreground: share of the image inside the regions of unified foreground packing; None where it was not computed.
    """

    small_share: float
    median: float
    tile: int = 0
    overlap: float = 0.0
    zoom: float = 1.0
    foreground: float | None = None


def tile_advice(bbox: np.ndarray, image: np.ndarray, sizes_wh: np.ndarray, size: InputSize) -> TileAdvice:
    """The rule. Tiles are advised where at least half of the objects are small (below 32 x 32 pixels) at the input size. Their side is the one at
    which the median object comes to 32 pixels when a tile fills the short edge of the input, but the zoom is four at most, and a tile is at least four
    times as long as 95 % of the objects. If that is more than three quarters of the image's long side, tiles would not help.

    Args:
        bbox: (n, 4) xywh in pixels of the images, of objects.
        image: (n,) position of the image.
        sizes_wh: (I, 2) of the images, 0 where unknown.
        size: the input size.
    """
    known = np.asarray(np.all(sizes_wh > 0, axis=1))
    usable = known[image] & (bbox[:, 2:] > 0).all(axis=1)
    bbox, image = bbox[usable], image[usable]
    if not len(bbox):
        return TileAdvice(0.0, 0.0)
    factors = size.factors(sizes_wh)
    side = np.sqrt(bbox[:, 2:].prod(axis=1))
    at_input = side * np.sqrt(factors[image].prod(axis=1))
    median = float(np.median(side))
    advice = TileAdvice(float((at_input < SMALL).mean()), median)
    if advice.small_share < SMALL_SHARE:
        return advice
    shown = np.unique(image)
    input_side = float(np.median((sizes_wh * factors)[shown].min(axis=1)))  # the short edge of the input
    long_side = float(np.median(sizes_wh[shown].max(axis=1)))
    longest = float(np.quantile(bbox[:, 2:].max(axis=1), 0.95))
    tile = max(input_side * median / SMALL, input_side / LARGEST_ZOOM, OBJECTS_A_TILE * longest)
    tile = max(round(tile / TILE_STEP), 1) * TILE_STEP
    if tile > TILE_OF_IMAGE * long_side:
        return advice
    advice.tile, advice.zoom = int(tile), input_side / tile
    advice.overlap = float(np.clip(np.ceil(20 * longest / tile) / 20, 0.2, 0.5))
    advice.foreground = _foreground_share(bbox, image, sizes_wh)
    return advice


def _foreground_share(bbox: np.ndarray, image: np.ndarray, sizes_wh: np.ndarray) -> float:
    """Median share of an image inside the regions of unified foreground packing, over a sample."""
    shares = []
    for (width, height), corners in sample_boxes(bbox, image, sizes_wh, InputSize('', None, None), FOREGROUND_IMAGES):
        regions = UnifiedForegroundPacking(corners, 1.5, (width, height))[0]
        shares.append(float((regions[:, 2] * regions[:, 3]).sum()) / (width * height))
    return float(np.median(shares)) if shares else 0.0
