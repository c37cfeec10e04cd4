"""The sizes at which a detector sees the objects of a data set.

Letters: n boxes, I images, G boxes of an image.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from ..datasets.transforms.foreground import ForegroundMosaic
from ..datasets.transforms.resize import (
    FixScaleResize,
    FixShapeResize,
    RandomChoiceResize,
    RandomResize,
    Resize,
    ResizeShortestEdge,
)
from ..datasets.transforms.warp import WarpResize
from ..registry import TRANSFORMS

# COCO's limits of small and medium objects, sides of squares in pixels.
SMALL, MEDIUM = 32.0, 96.0
# The usual test size of mmdetection's configs, taken where no config says another one.
DEFAULT_RESIZE = dict(type='Resize', scale=(1333, 800), keep_ratio=True)

# Images: (width, height) of the input, and boxes (G, 4) xyxy at this size.
Sample = list[tuple[tuple[int, int], np.ndarray]]


class InputSize(NamedTuple):
    """A size to which a pipeline brings images: ``label`` for the page, ``resize`` (a transform or None) and its ``scale``."""

    label: str
    resize: Any
    scale: tuple[float, float] | None

    def factors(self, sizes_wh: np.ndarray) -> np.ndarray:
        """(I, 2) by which width and height of images (I, 2) are multiplied."""
        sizes = np.maximum(sizes_wh, 1).astype(np.float64)
        step, scale = self.resize, self.scale
        if step is None:
            return np.ones_like(sizes)
        if isinstance(step, ResizeShortestEdge):
            factor = min(step.scale) / sizes.min(axis=1)
            if step.max_size is not None:
                factor = np.minimum(factor, step.max_size / sizes.max(axis=1))
        elif getattr(step, 'scale_factor', None) is not None:
            return np.tile(np.asarray(step.scale_factor, np.float64), (len(sizes), 1))
        elif (step.fit == 'stretch') if isinstance(step, WarpResize) else not step.keep_ratio:
            return np.asarray(scale, np.float64) / sizes
        elif isinstance(step, FixShapeResize | WarpResize):
            factor = (np.asarray(scale, np.float64) / sizes).min(axis=1)
        else:
            assert scale is not None
            factor = np.minimum(max(scale) / sizes.max(axis=1), min(scale) / sizes.min(axis=1))
        return np.stack([factor, factor], axis=1)


def input_sizes(pipeline: Sequence[Mapping[str, Any]]) -> list[InputSize]:
    """The sizes to which a pipeline brings images: one, or the smallest and the largest of a training with several scales.

    Without a step that resizes, images keep their size; without a pipeline, mmdetection's usual size is taken.
    """
    if not pipeline:
        return [_one_size('1333 x 800 (the usual size)', DEFAULT_RESIZE)]
    found: list[InputSize] = []
    for step in _resizing(pipeline):
        if isinstance(step, RandomResize):
            base = [tuple(scale) for scale in step.scale]
            ends = (
                [tuple(side * ratio for side in base[0]) for ratio in step.ratio_range]
                if step.ratio_range is not None
                else [(max_of(max(s) for s in base), max_of(min(s) for s in base)) for max_of in (min, max)]
            )
            found += [InputSize('', step.resize, cast(tuple[float, float], end)) for end in ends]
        elif isinstance(step, RandomChoiceResize):
            found += [InputSize('', step.resize, tuple(np.broadcast_to(scale, 2))) for scale in step.scales]
        elif isinstance(step, FixShapeResize):
            found.append(InputSize('', step, (step.width, step.height)))
        elif isinstance(step, WarpResize):
            found += [
                InputSize('', step, (step.scale[0] * zoom, step.scale[1] * zoom)) for zoom in sorted(set(step.zoom))
            ]
        else:
            found.append(InputSize('', step, None if getattr(step, 'scale', None) is None else step.scale))
    if not found:
        return [InputSize('images as they are', None, None)]
    found.sort(key=lambda size: 0 if size.scale is None else math.prod(size.scale))
    outer = found[:1] if len(found) == 1 else [found[0], found[-1]]
    return [size._replace(label=_scale_text(size)) for size in outer]


def _one_size(label: str, step: dict) -> InputSize:
    resize = TRANSFORMS.build(dict(step))
    return InputSize(label, resize, resize.scale)


def fixed_size(width: int, height: int) -> InputSize:
    """Images resized to a size of the user's, keeping their ratio."""
    return _one_size(f'{width} x {height}', dict(type='Resize', scale=(width, height), keep_ratio=True))


def _scale_text(size: InputSize) -> str:
    if isinstance(size.resize, ResizeShortestEdge):
        most = '' if size.resize.max_size is None else f', long edge at most {size.resize.max_size}'
        return f'short edge {min(size.resize.scale):g}{most}'
    if size.scale is None:
        return f'{tuple(size.resize.scale_factor)} of the size'
    return ' x '.join(f'{side:.0f}' for side in size.scale)


_RESIZES = (Resize, FixScaleResize, ResizeShortestEdge, FixShapeResize, RandomResize, RandomChoiceResize, WarpResize)


def _resizing(steps: Any) -> Iterator[Any]:
    """The first resizing transforms of a pipeline, built; of alternatives, those of each that resizes images and not mosaics of them."""
    for step in steps:
        if isinstance(step, list | tuple):
            yield from _resizing(step)
            continue
        kind = TRANSFORMS.get(step['type']) if isinstance(step, Mapping) and isinstance(step.get('type'), str) else step
        inner = step.get('transforms') if isinstance(step, Mapping) else None
        if kind is ForegroundMosaic or isinstance(step, ForegroundMosaic):
            return
        if isinstance(kind, type) and issubclass(kind, _RESIZES) and isinstance(step, Mapping):
            yield TRANSFORMS.build(dict(step))
            return
        if isinstance(step, _RESIZES):
            yield step
            return
        if inner:
            found = list(_resizing(inner))
            yield from found
            if found:
                return


@dataclass
class SizeShares:
    """Shares of small, medium and large objects and the median side, in pixels of the file or at an input size."""

    part: str
    where: str
    shares: tuple[float, float, float]
    median: float
    boxes: int


def size_shares(part: str, where: str, sides_wh: np.ndarray) -> SizeShares:
    """Shares for the sides (n, 2) of boxes; areas are compared with COCO's 32^2 and 96^2."""
    side = np.sqrt(np.maximum(sides_wh, 0).prod(axis=1))
    if not len(side):
        return SizeShares(part, where, (0.0, 0.0, 0.0), 0.0, 0)
    small, large = float((side < SMALL).mean()), float((side > MEDIUM).mean())
    return SizeShares(part, where, (small, 1 - small - large, large), float(np.median(side)), len(side))


def stage_size(model: Any) -> InputSize | None:
    """The size to which a composite detector resizes images itself: that of its stage for the whole image; None for other models."""
    if not isinstance(model, Mapping):
        return None
    for name in ('whole', 'coarse', 'stage'):
        scale = (model.get(name) or {}).get('scale') if isinstance(model.get(name), Mapping) else None
        if scale is not None:
            first = scale[0] if isinstance(scale[0], list | tuple) else scale
            return fixed_size(int(first[0]), int(first[1]))
    return None


def sample_boxes(bbox: np.ndarray, image: np.ndarray, sizes_wh: np.ndarray, size: InputSize, limit: int) -> Sample:
    """Boxes at the input size, of at most ``limit`` images that have some, evenly spaced.

    Args:
        bbox: (n, 4) xywh in pixels of the images.
        image: (n,) position of the image.
        sizes_wh: (I, 2) of the images, 0 where unknown; these are passed over.
        size: the input size.
    """
    known = np.asarray(np.all(sizes_wh > 0, axis=1))
    usable = known[image] & (bbox[:, 2] >= 1) & (bbox[:, 3] >= 1)
    bbox, image = bbox[usable], image[usable]
    chosen = np.unique(image)
    if len(chosen) > limit:
        chosen = chosen[np.linspace(0, len(chosen) - 1, limit).round().astype(np.int64)]
    order = np.argsort(image, kind='stable')
    bbox, image = bbox[order], image[order]
    starts, ends = np.searchsorted(image, chosen), np.searchsorted(image, chosen, side='right')
    factors = size.factors(sizes_wh[chosen])  # (images, 2)
    sample = []
    for k, position in enumerate(chosen.tolist()):
        own = bbox[starts[k] : ends[k]]
        corners = np.concatenate([own[:, :2], own[:, :2] + own[:, 2:]], axis=1) * np.tile(factors[k], 2)
        width, height = np.maximum((sizes_wh[position] * factors[k] + 0.5).astype(int), 1).tolist()
        corners = np.clip(corners, 0, [width, height, width, height])
        kept = corners[(corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])]
        if len(kept):
            sample.append(((width, height), kept))
    return sample
