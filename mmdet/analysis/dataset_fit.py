"""How the objects of a data set fit a detector: their sizes at the input, its priors and last bin, and whether tiles would help.

Letters: n boxes, I images, P priors, L levels, G boxes of an image.
"""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData

from ..core.ufp import UnifiedForegroundPacking
from ..datasets.transforms.resize import (
    FixScaleResize,
    FixShapeResize,
    RandomChoiceResize,
    RandomResize,
    Resize,
    ResizeShortestEdge,
)
from ..errors import MMDetError
from ..registry import MODELS, TASK_UTILS, TRANSFORMS
from ..utils.progress import progress

# COCO's limits of small and medium objects, sides of squares in pixels.
SMALL, MEDIUM = 32.0, 96.0
# The usual test size of mmdetection's configs, taken where no config says another one.
DEFAULT_RESIZE = dict(type='Resize', scale=(1333, 800), keep_ratio=True)
# A share of one per cent is what a change of reg_max or of the anchors can win at most, about the noise of a training.
LAST_BIN_SHARE = 0.01
# ATSS leaves out boxes that contain no prior's centre. Some per cent of them are what a denser level can win.
UNMATCHED_SHARE = 0.02
COVERAGE_IMAGES = 300  # images that the assigner sees, evenly spaced: the share is then known to about a tenth of it
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
        elif not step.keep_ratio:
            return np.asarray(scale, np.float64) / sizes
        elif isinstance(step, FixShapeResize):
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
    steps = [step for step in _resizing(pipeline)]
    found: list[InputSize] = []
    for step in steps:
        if isinstance(step, RandomResize):
            base = [tuple(scale) for scale in step.scale]
            ends = (
                [tuple(side * ratio for side in base[0]) for ratio in step.ratio_range]
                if step.ratio_range is not None
                else [(max_of(max(s) for s in base), max_of(min(s) for s in base)) for max_of in (min, max)]
            )
            found += [InputSize('', step.resize, end) for end in ends]
        elif isinstance(step, RandomChoiceResize):
            found += [InputSize('', step.resize, tuple(np.broadcast_to(scale, 2))) for scale in step.scales]
        elif isinstance(step, FixShapeResize):
            found.append(InputSize('', step, (step.width, step.height)))
        else:
            found.append(InputSize('', step, None if getattr(step, 'scale', None) is None else step.scale))
    if not found:
        return [InputSize('images as they are', None, None)]
    found.sort(key=lambda size: 0 if size.scale is None else math.prod(size.scale))
    ends = found[:1] if len(found) == 1 else [found[0], found[-1]]
    return [size._replace(label=_scale_text(size)) for size in ends]


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


_RESIZES = (Resize, FixScaleResize, ResizeShortestEdge, FixShapeResize, RandomResize, RandomChoiceResize)


def _resizing(steps: Any) -> Iterator[Any]:
    """The first resizing transforms of a pipeline, built; of alternatives, those of each."""
    for step in steps:
        if isinstance(step, list | tuple):
            yield from _resizing(step)
            continue
        kind = TRANSFORMS.get(step['type']) if isinstance(step, Mapping) and isinstance(step.get('type'), str) else step
        inner = step.get('transforms') if isinstance(step, Mapping) else None
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
    small, large = (side < SMALL).mean() if len(side) else 0.0, (side > MEDIUM).mean() if len(side) else 0.0
    shares = (float(small), float(1 - small - large) if len(side) else 0.0, float(large))
    return SizeShares(part, where, shares, float(np.median(side)) if len(side) else 0.0, len(side))


# ------------------------------------------------------------------------------------------------------ priors


@dataclass
class HeadSettings:
    """What decides which priors a box is trained on, read from a config.

    Attributes:
        name: type of the head.
        generator: config of the priors.
        assigner: config of the assigner.
        reg_max: the last bin in strides; None for heads without bins.
        note: what was assumed, '' if nothing.
    """

    name: str
    generator: dict
    assigner: dict
    reg_max: int | None
    note: str = ''


def head_settings(model: Any) -> list[HeadSettings]:
    """The heads with anchors in the config of a model; none for the stages of composite detectors, which their own configs train."""
    found: list[HeadSettings] = []
    if isinstance(model, Mapping) and 'detector' not in model:
        head = model.get('bbox_head')
        if isinstance(head, Mapping) and head.get('anchor_generator'):
            found.append(_settings_of(head, model.get('train_cfg') or {}))
        for key, value in model.items():
            if key != 'bbox_head':
                found.extend(head_settings(value))
    return found


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


def _settings_of(head: Mapping, train_cfg: Mapping) -> HeadSettings:
    kind = MODELS.get(head['type']) if isinstance(head['type'], str) else head['type']
    reg_max = head.get('reg_max', _default_of(kind, 'reg_max'))
    assigner = (
        train_cfg.get('initial_assigner') or train_cfg.get('assigner') or getattr(kind, '_default_assigner', None)
    )
    note = ''
    if (
        not assigner
        or assigner.get('type') not in ('ATSSAssigner', 'MaxIoUAssigner')
        or assigner.get('alpha') is not None
    ):
        name = assigner.get('type') if assigner else 'none'
        note = f'its assigner ({name}) depends on predictions; ATSS with topk=9 stands for it'
        assigner = dict(type='ATSSAssigner', topk=9)
    name = kind.__name__ if isinstance(kind, type) else str(head['type'])
    return HeadSettings(name, _plain(head['anchor_generator']), _plain(assigner), reg_max, note)


def _plain(config: Any) -> dict:
    return {key: value for key, value in config.items()}


def _default_of(kind: Any, name: str) -> Any:
    """The default of an argument of a class or of the classes that it passes its arguments to."""
    for cls in inspect.getmro(kind) if isinstance(kind, type) else ():
        parameter = inspect.signature(cls.__init__).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return parameter.default
    return None


@dataclass
class Coverage:
    """What the assigner of a head makes of boxes.

    Attributes:
        head: its settings.
        size: label of the input size.
        strides: of the L levels.
        boxes: number of boxes.
        on_level: (L,) boxes with a positive prior on a level; a box can be on several.
        beyond: (L,) those of them of which a positive prior has a side further away than the last bin.
        any_beyond: boxes that are ``beyond`` on some level.
        unmatched: boxes without a positive prior.
        needed: the last bin that would hold 99 % of the boxes; 0 without bins.
        advice: settings that were tried, and their shares.
    """

    head: HeadSettings
    size: str
    strides: list[int]
    boxes: int
    on_level: np.ndarray
    beyond: np.ndarray
    any_beyond: int
    unmatched: int
    needed: int
    tried: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def beyond_share(self) -> float:
        return self.any_beyond / max(self.boxes, 1)

    @property
    def unmatched_share(self) -> float:
        return self.unmatched / max(self.boxes, 1)


Sample = list[
    tuple[tuple[int, int], np.ndarray]
]  # images: (width, height) of the input, boxes (G, 4) xyxy at this size


def sample_boxes(
    bbox: np.ndarray, image: np.ndarray, sizes_wh: np.ndarray, size: InputSize, limit: int = COVERAGE_IMAGES
) -> Sample:
    """Boxes at the input size, of at most ``limit`` images that have some, evenly spaced.

    Args:
        bbox: (n, 4) xywh in pixels of the images.
        image: (n,) position of the image.
        sizes_wh: (I, 2) of the images, 0 where unknown; these are passed over.
        size: the input size.
    """
    known = (sizes_wh > 0).all(axis=1)
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


def coverage(settings: HeadSettings, sample: Sample, label: str) -> Coverage:
    """Let the assigner of a head choose the priors of all boxes of a sample.

    A side of a box is further away than the last bin if its distance from a positive prior's centre is more than ``reg_max`` strides: the head is
    trained on the last bin there, and the predicted box ends too early.

    Raises:
        MMDetError: priors or assigner cannot be built.
    """
    generator, assigner = TASK_UTILS.build(dict(settings.generator)), TASK_UTILS.build(dict(settings.assigner))
    strides = [min(pair) for pair in generator.strides]
    levels = len(strides)
    on_level, beyond = np.zeros(levels, np.int64), np.zeros(levels, np.int64)
    reach: list[np.ndarray] = []
    unmatched = boxes = 0
    limit = settings.reg_max
    for (width, height), corners in progress(sample, f'{settings.name} at {label}'):
        maps = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]
        priors = generator.grid_priors(maps, device='cpu')
        counts = [len(level) for level in priors]
        flat = torch.cat(priors)
        gt = InstanceData(bboxes=torch.from_numpy(corners).float(), labels=torch.zeros(len(corners), dtype=torch.long))
        predictions = InstanceData(priors=flat)
        if settings.assigner['type'] == 'ATSSAssigner':
            result = assigner.assign(predictions, counts, gt)
        else:
            result = assigner.assign(predictions, gt)
        positive = torch.nonzero(result.gt_inds > 0).flatten()
        own = (result.gt_inds[positive] - 1).numpy()
        level = np.searchsorted(np.cumsum(counts), positive.numpy(), side='right')
        centre = ((flat[positive, :2] + flat[positive, 2:]) / 2).numpy()
        furthest = np.concatenate([centre - corners[own, :2], corners[own, 2:] - centre], axis=1).max(axis=1)
        distance = furthest / np.asarray(strides)[level]  # in strides
        largest = np.zeros((levels, len(corners)))
        np.maximum.at(largest, (level, own), distance)
        present = np.zeros((levels, len(corners)), bool)
        present[level, own] = True
        on_level += present.sum(axis=1)
        if limit is not None:
            beyond += (largest > limit).sum(axis=1)
        matched = present.any(axis=0)
        reach.append(largest.max(axis=0)[matched])
        unmatched += int((~matched).sum())
        boxes += len(corners)
    distances = np.concatenate([np.zeros(0), *reach])
    any_beyond = int((distances > limit).sum()) if limit is not None else 0
    needed = math.ceil(np.quantile(distances, 1 - LAST_BIN_SHARE)) if limit is not None and len(distances) else 0
    return Coverage(settings, label, strides, boxes, on_level, beyond, any_beyond, unmatched, needed)


def try_alternatives(found: Coverage, sample: Sample) -> None:
    """Complete ``found.tried`` by other anchors and levels: (what, share beyond the last bin, share unmatched)."""
    generator = found.head.generator
    strides = list(generator['strides'])
    wanted: list[tuple[str, dict]] = []
    base = generator.get('octave_base_scale')
    if base:
        wanted.append((f'octave_base_scale={base / 2:g}', dict(generator, octave_base_scale=base / 2)))
        if found.unmatched_share <= UNMATCHED_SHARE:
            wanted.append((f'octave_base_scale={base * 2:g}', dict(generator, octave_base_scale=base * 2)))
    if all(isinstance(stride, int) for stride in strides) and not generator.get('base_sizes'):
        if found.unmatched_share > UNMATCHED_SHARE and strides[0] > 4:
            finer = [strides[0] // 2, *strides]
            wanted.append((f'strides={finer} (a finer level)', dict(generator, strides=finer)))
        if found.beyond_share > LAST_BIN_SHARE:
            coarser = [*strides, 2 * strides[-1]]
            wanted.append((f'strides={coarser} (a coarser level)', dict(generator, strides=coarser)))
    for text, config in wanted:
        settings = HeadSettings(found.head.name, config, found.head.assigner, found.head.reg_max)
        try:
            other = coverage(settings, sample, text)
        except MMDetError:  # the generator takes no such combination
            continue
        found.tried.append((text, other.beyond_share, other.unmatched_share))


def coverage_advice(found: Coverage, code: str) -> str:
    """What to change, as a sentence; ``code`` 'last_bin' or 'unmatched'."""
    column = 1 if code == 'last_bin' else 2
    now = found.beyond_share if code == 'last_bin' else found.unmatched_share
    limit = LAST_BIN_SHARE if code == 'last_bin' else UNMATCHED_SHARE
    other = 3 - column
    others_now = found.unmatched_share if code == 'last_bin' else found.beyond_share
    options = []
    if code == 'last_bin':
        options.append(f'reg_max={found.needed} would hold 99 % of the boxes')
    # A change is worth naming if it halves the share, or brings it below the limit, and does not pay with the other one.
    better = [
        row
        for row in found.tried
        if (row[column] <= limit or row[column] < now / 2) and row[other] <= max(others_now * 1.5, limit)
    ]
    for row in sorted(better, key=lambda row: row[column])[:2]:
        options.append(f'{row[0]} leaves {row[column]:.1%}')
    if not options:
        options.append('train at a larger input size, or on tiles')
    return f'{"; or ".join(options)}.'


# --------------------------------------------------------------------------------------------------------- tiles


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
    usable = (sizes_wh > 0).all(axis=1)[image] & (bbox[:, 2:] > 0).all(axis=1)
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
