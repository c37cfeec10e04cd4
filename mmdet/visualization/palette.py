"""Colours by the names of data sets, under the names of mmdetection 3.x. (The package's own pictures use :func:`.drawing.palette`.)"""

from collections.abc import Sequence

import mmcv
import numpy as np

from ..datasets.coco import CocoDataset
from ..errors import ArgumentError

RGB = tuple[int, ...]
# The colours that Cityscapes publishes (cityscapesScripts, labels.py) of its 8 classes with instances.
_CITYSCAPES: list[RGB] = [
    (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)
]  # fmt: skip


def _voc_colors(count: int = 20) -> list[RGB]:
    """The colour map of PASCAL VOC's development kit without its background: bits of the index, from the top of each channel."""
    return [
        tuple(sum((index >> (3 * k + channel) & 1) << (7 - k) for k in range(8)) for channel in range(3))
        for index in range(1, count + 1)
    ]


def get_palette(palette: Sequence[RGB] | str | RGB | None, num_classes: int) -> list[RGB]:
    """Colours (r, g, b) of classes.

    Args:
        palette: colours; one colour for all classes (a tuple, or a name such as 'red'); 'coco', 'voc' or 'citys'; 'random' or None for colours
            drawn with a fixed seed.
        num_classes: how many there must be at least.

    Raises:
        ArgumentError: too few colours.
        TypeError: a palette of another type.
    """
    if palette is None or palette == 'random':
        drawn = np.random.RandomState(42).randint(0, 256, size=(num_classes, 3))
        colors: list[RGB] = [tuple(map(int, color)) for color in drawn]
    elif palette == 'coco':
        colors = CocoDataset.METAINFO['palette']
    elif palette == 'citys':
        colors = _CITYSCAPES
    elif palette == 'voc':
        colors = _voc_colors()
    elif isinstance(palette, str):
        colors = [tuple(mmcv.color_val(palette)[::-1])] * num_classes
    elif isinstance(palette, list):
        colors = palette
    elif isinstance(palette, tuple):
        colors = [palette] * num_classes
    else:
        raise TypeError(f'palette must be a list, a tuple, a str or None. Received: {type(palette).__name__}')
    if len(colors) < num_classes:
        raise ArgumentError(f'the palette must have at least {num_classes} colours', received=len(colors))
    return colors


def palette_val(palette: Sequence[RGB]) -> list[tuple[float, ...]]:
    """Colours in [0, 255] as the fractions in [0, 1] that matplotlib takes."""
    return [tuple(value / 255 for value in color) for color in palette]


def _get_adaptive_scales(areas: np.ndarray, min_area: int = 800, max_area: int = 30000) -> np.ndarray:
    """Sizes of texts in boxes of areas (n,): 0.5 below ``max_area``, 1 from there. (mmdetection meant a slope and divided whole numbers.)"""
    return np.clip(0.5 + (areas - min_area) // (max_area - min_area), 0.5, 1.0)


def jitter_color(color: RGB) -> RGB:
    """A colour nearby, drawn from numpy's global state."""
    direction = np.random.rand(3)
    shift = (direction / np.linalg.norm(direction) - 0.5) * 0.5 * 255
    return tuple(np.clip(shift + color, 0, 255).astype(np.uint8))
