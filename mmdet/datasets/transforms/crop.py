"""Random crops, expansion of the canvas, and the filter of small objects."""

import random
from collections.abc import Sequence

import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import BaseBoxes, HorizontalBoxes, autocast_box_type, get_box_wh
from mmdet.errors import ConfigError, DataError
from mmdet.registry import TRANSFORMS

from .arguments import (
    check_pad_value,
    check_pair,
    check_probability,
    check_range,
    check_size,
    has_area,
    image_of,
    is_numbers,
    is_sequence,
    record_homography,
    select_objects,
)
from .base import GeometricTransform

CROP_TYPES = ('absolute', 'absolute_range', 'relative', 'relative_range')


@TRANSFORMS.register_module()
class RandomCrop(GeometricTransform):
    """Cut out a window at a random place; a window without objects gives None (the dataset draws another sample).

    Args:
        crop_size: two numbers whose meaning depends on ``crop_type``; one number stands for both. Windows are never
            larger than the image.
        crop_type: ``'absolute'``: (w, h) in pixels. ``'absolute_range'``: (low, high), the closed interval of pixels
            from which height and width are drawn independently. ``'relative'``: (w, h) as shares of the image, in
            (0, 1]. ``'relative_range'``: (h, w), the lower limits of the shares, each drawn uniformly up to 1.
        allow_negative_crop: return windows without objects as well.
        recompute_bbox: take the boxes from what the window shows of the masks, where the sample has masks; an object whose mask
            lies outside gets an empty box, which :class:`FilterAnnotations` drops.
        bbox_clip_border: clip the boxes to the window. Objects wholly outside are dropped in either case.
    """

    moves_masks = True

    def __init__(
        self,
        crop_size: float | Sequence[float],
        crop_type: str = 'absolute',
        allow_negative_crop: bool = False,
        recompute_bbox: bool = False,
        bbox_clip_border: bool = True,
    ):
        if crop_type not in CROP_TYPES:
            message = f'Invalid crop_type; must be one of {CROP_TYPES}'
            raise ConfigError(message, field='crop_type', received=crop_type)
        self.crop_type = crop_type
        self.crop_size: tuple[float, float]
        if crop_type in ('absolute', 'absolute_range'):
            self.crop_size = check_size('crop_size', crop_size)
            if crop_type == 'absolute_range':
                check_range('crop_size', self.crop_size, minimum=1)
        else:
            allowed = 'two shares of the image in (0, 1]'
            self.crop_size = check_pair('crop_size', crop_size, lambda share: 0 < share <= 1, allowed)
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox = recompute_bbox
        self.bbox_clip_border = bbox_clip_border

    def draw_size(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of one window, at least one pixel and at most the image."""
        return self._get_crop_size(image_hw)

    @cache_randomness
    def _get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """:meth:`draw_size`. This method and those below are what subclasses written for mmdetection override."""
        height, width = image_size
        first, second = self.crop_size
        if self.crop_type == 'absolute':
            size: tuple[float, float] = second, first
        elif self.crop_type == 'absolute_range':
            size = self._draw_side(height), self._draw_side(width)
        elif self.crop_type == 'relative':
            size = height * second + 0.5, width * first + 0.5
        else:
            shares = self.crop_size + np.random.rand(2) * (1 - np.array(self.crop_size))
            size = height * shares[0] + 0.5, width * shares[1] + 0.5
        return min(max(1, int(size[0])), height), min(max(1, int(size[1])), width)

    def _draw_side(self, side: int) -> int:
        low, high = (min(side, int(edge)) for edge in self.crop_size)
        return int(np.random.randint(low, high + 1))

    @cache_randomness
    def _rand_offset(self, margin: tuple[int, int]) -> tuple[int, int]:
        """(top, left) of the window, from 0 to the margin (height, width) that it leaves."""
        return int(np.random.randint(margin[0] + 1)), int(np.random.randint(margin[1] + 1))

    @autocast_box_type()
    def transform(self, results: dict) -> dict | None:
        crop_size = self._get_crop_size(image_of(results).shape[:2])
        return self._crop_data(results, crop_size, self.allow_negative_crop)

    def _crop_data(self, results: dict, crop_size: tuple[int, int], allow_negative_crop: bool) -> dict | None:
        """Cut a window of the size (h, w) out of the sample, whose boxes are an object, in place; None for one without objects."""
        height, width = image_of(results).shape[:2]
        crop_h, crop_w = min(height, crop_size[0]), min(width, crop_size[1])
        top, left = self._rand_offset((height - crop_h, width - crop_w))
        boxes = results.get('gt_bboxes')
        if boxes is not None:
            boxes.translate_((-left, -top))
            clipped = boxes.clone()
            clipped.clip_((crop_h, crop_w))
            keep = wider_and_higher(clipped)
            if not isinstance(clipped, HorizontalBoxes):  # these have no area left outside
                keep &= clipped.is_inside((crop_h, crop_w)).numpy()
            if not keep.any() and not allow_negative_crop:
                return None
            results['gt_bboxes'] = clipped if self.bbox_clip_border else boxes
            select_objects(results, keep)
        crop_sample(results, (left, top, left + crop_w, top + crop_h))
        if self.recompute_bbox and boxes is not None and results.get('gt_masks') is not None:
            results['gt_bboxes'] = results['gt_masks'].get_bboxes(type(boxes))
        return results


def crop_sample(results: dict, window: tuple[int, int, int, int]) -> None:
    """Cut image and masks to a window xyxy of whole pixels inside the image, and note it in the sample, in place."""
    left, top, right, bottom = window
    results.update(img=image_of(results)[top:bottom, left:right], img_shape=(bottom - top, right - left))
    if results.get('gt_masks') is not None:
        results['gt_masks'] = results['gt_masks'].crop(np.array(window))
    record_homography(results, [[1, 0, -left], [0, 1, -top], [0, 0, 1]])


def wider_and_higher(boxes: BaseBoxes | np.ndarray, than: Sequence[float] = (0, 0)) -> np.ndarray:
    """Mask (N,) of the boxes, objects or an array xyxy, that are wider and higher than ``than`` = (w, h)."""
    if not isinstance(boxes, BaseBoxes):
        return has_area(boxes, tuple(than))
    if isinstance(boxes, HorizontalBoxes):
        return has_area(boxes.numpy(), tuple(than))  # a few boxes take NumPy less time than torch
    widths, heights = get_box_wh(boxes)
    return ((widths > than[0]) & (heights > than[1])).numpy()


@TRANSFORMS.register_module()
class Expand(GeometricTransform):
    """Put the image at a random place of a larger canvas, so that objects become smaller relative to it (SSD).

    Args:
        mean: fill colour, one number or one per channel.
        to_rgb: whether ``mean`` is in RGB order; the image is BGR.
        ratio_range: (low, high) of the canvas' sides over the image's sides, low >= 1.
        seg_ignore_label: accepted for mmdetection's configs.
        prob: probability of expanding the image.
    """

    moves_masks = True

    def __init__(
        self,
        mean: float | Sequence[float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: tuple[float, float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ):
        colour = check_pad_value('mean', mean)
        self.mean = colour[::-1] if to_rgb and isinstance(colour, tuple) else colour
        self.ratio_range = check_range('ratio_range', ratio_range, minimum=1)
        self.prob = check_probability('prob', prob)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        if self._random_prob() >= self.prob:
            return results
        image = image_of(results)
        height, width = image.shape[:2]
        ratio = self._random_ratio()
        canvas_h, canvas_w = int(height * ratio), int(width * ratio)
        left, top = self._random_left_top(ratio, height, width)
        canvas = np.empty((canvas_h, canvas_w, *image.shape[2:]), image.dtype)
        canvas[:] = np.asarray(self.mean).astype(image.dtype)
        canvas[top : top + height, left : left + width] = image
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].translate_((left, top))
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].expand(canvas_h, canvas_w, top, left)
        record_homography(results, [[1, 0, left], [0, 1, top], [0, 0, 1]])
        results.update(img=canvas, img_shape=(canvas_h, canvas_w))
        return results

    @cache_randomness
    def _random_prob(self) -> float:
        return np.random.rand()

    @cache_randomness
    def _random_ratio(self) -> float:
        return np.random.uniform(*self.ratio_range)

    @cache_randomness
    def _random_left_top(self, ratio: float, h: int, w: int) -> tuple[int, int]:
        """(left, top) of an image (h, w) on a canvas ``ratio`` times as large."""
        top = int(np.random.randint(int(h * ratio) - h + 1))
        return int(np.random.randint(int(w * ratio) - w + 1)), top


def overlap_with_window(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """IoU (N,) of xyxy boxes (N, 4) with one window (4,), in [0, 1]; 0 where both are empty."""
    low = np.maximum(boxes[:, :2], window[:2])
    high = np.minimum(boxes[:, 2:], window[2:])
    inter = np.clip(high - low, 0, None).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (window[2:] - window[:2]).prod() - inter
    return inter / np.maximum(union, 1e-6)


@TRANSFORMS.register_module()
class MinIoURandomCrop(GeometricTransform):
    """Crop a window with which every object has at least a randomly chosen IoU (SSD, Liu et al. 2016, section 2.2).

    The bound is drawn from ``min_ious``, 0 (any window) and 1 (no crop). Up to 50 windows of aspect ratio 1/2 to 2 are
    tried, then the bound is drawn again. A window must hold the centre of at least one object; objects whose centre
    lies outside are dropped.

    Args:
        min_ious: the bounds, each in [0, 1].
        min_crop_size: smallest side of the window as a share of the image's side, in (0, 1].
        bbox_clip_border: clip boxes to the window.
    """

    attempts = 50
    moves_masks = True

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        bbox_clip_border: bool = True,
    ):
        if not is_sequence(min_ious):
            raise ConfigError('must be a list of numbers in [0, 1]', field='min_ious', received=min_ious)
        self.min_ious = tuple(check_probability('min_ious', value) for value in min_ious)
        self.min_crop_size = check_probability('min_crop_size', min_crop_size)
        if min_crop_size == 0:
            raise ConfigError('must be in (0, 1]', field='min_crop_size', received=min_crop_size)
        self.bbox_clip_border = bbox_clip_border

    @cache_randomness
    def draw_window(self, image_hw: tuple[int, int], boxes: np.ndarray) -> np.ndarray | None:
        """One window (4,) xyxy in whole pixels, or None for no crop; ``boxes`` are (N, 4) xyxy."""
        height, width = image_hw
        while True:
            bound = random.choice((1, *self.min_ious, 0))
            if bound == 1:
                return None
            for _ in range(self.attempts):
                crop_w = random.uniform(self.min_crop_size * width, width)
                crop_h = random.uniform(self.min_crop_size * height, height)
                if not 0.5 <= crop_h / crop_w <= 2:
                    continue
                left, top = random.uniform(0, width - crop_w), random.uniform(0, height - crop_h)
                window = np.array([int(left), int(top), int(left + crop_w), int(top + crop_h)])
                if not (window[2:] > window[:2]).all():
                    continue
                if len(boxes) == 0:
                    return window
                if overlap_with_window(boxes, window).min() >= bound and centres_inside(boxes, window).any():
                    return window

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        boxes = results.get('gt_bboxes')
        upright = np.zeros((0, 4)) if boxes is None else boxes.convert_to('hbox').numpy()
        window = self.draw_window(image_of(results).shape[:2], upright)
        if window is None:
            return results
        left, top, right, bottom = window.tolist()
        if boxes is not None:
            keep = centres_inside(upright, window)
            boxes.translate_((-left, -top))
            if self.bbox_clip_border:
                boxes.clip_((bottom - top, right - left))
            select_objects(results, keep)
        crop_sample(results, (left, top, right, bottom))
        return results


def centres_inside(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Mask (N,) of the xyxy boxes whose centre lies strictly inside the window (4,)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centres > window[:2]) & (centres < window[2:])).all(axis=1)


@TRANSFORMS.register_module()
class RandomCenterCropPad(GeometricTransform):
    """Cut out a window around a random point and fill what lies outside the image; in the test, only pad (CornerNet, CenterNet).

    Windows are drawn until one holds the centre of an object; objects whose centre lies outside are dropped. If no window of many holds one,
    the result is None (the dataset draws another sample). The test mode puts the image in the middle of a canvas and writes
    ``border``, (top, bottom, left, right) edge of the image in it, which the head subtracts.

    Args:
        crop_size: (w, h) of the window in pixels; None in the test mode.
        ratios: factors of the size, one of which is drawn; None in the test mode.
        border: how far the point stays from the image's edges, in pixels; less in small images. None in the test mode.
        mean: fill colour, one number for each channel.
        std: accepted for mmdetection's configs.
        to_rgb: whether ``mean`` is in RGB order; the image is BGR.
        test_mode: pad only.
        test_pad_mode: ``('logical_or', n)``: sides are ``side | n``; ``('size_divisor', n)``: the next multiple of n.
        test_pad_add_pix: pixels added to the sides of ``'logical_or'``.
        bbox_clip_border: clip the boxes to the window.

    Raises:
        ConfigError: arguments of the other mode, or an unknown ``test_pad_mode``.
    """

    attempts, rounds = 50, 20

    def __init__(
        self,
        crop_size: tuple[int, int] | None = None,
        ratios: Sequence[float] | None = (0.9, 1.0, 1.1),
        border: int | None = 128,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        to_rgb: bool | None = None,
        test_mode: bool = False,
        test_pad_mode: tuple[str, int] | None = ('logical_or', 127),
        test_pad_add_pix: int = 0,
        bbox_clip_border: bool = True,
    ):
        for name, value in (('crop_size', crop_size), ('ratios', ratios), ('border', border)):
            if test_mode == (value is not None):
                allowed = 'must be None in the test mode' if test_mode else 'is needed in training'
                raise ConfigError(allowed, field=name, received=value)
        if mean is None or len(mean) != 3:
            raise ConfigError('must be three numbers', field='mean', received=mean)
        self.mean = np.array(mean[::-1] if to_rgb else mean)
        self.test_mode, self.bbox_clip_border = test_mode, bbox_clip_border
        if test_mode:
            if test_pad_mode is None or test_pad_mode[0] not in ('logical_or', 'size_divisor'):
                allowed = "must be ('logical_or', n) or ('size_divisor', n)"
                raise ConfigError(allowed, field='test_pad_mode', received=test_pad_mode)
            self.test_pad_mode: tuple[str, int] = (test_pad_mode[0], test_pad_mode[1])
            self.test_pad_add_pix = test_pad_add_pix
        else:
            self.crop_size, self.border = check_size('crop_size', crop_size), border
            self.ratios = [check_range('ratios', (ratio, ratio))[0] for ratio in ratios or ()]

    @autocast_box_type()
    def transform(self, results: dict) -> dict | None:
        height, width = image_of(results).shape[:2]
        if self.test_mode:
            size = self._padded(height), self._padded(width)
            results['border'] = self._paste(results, (height // 2, width // 2), size)
            return results
        boxes = results.get('gt_bboxes')
        upright = np.zeros((0, 4)) if boxes is None else boxes.convert_to('hbox').numpy()
        for _ in range(self.rounds):
            size, centers = self._draw(height, width)
            for y, x in centers:
                reach = np.array([size[1] // 2, size[0] // 2])
                window = np.concatenate([[x, y] - reach, [x, y] + reach]).clip(0, [width, height, width, height])
                keep = centres_inside(upright, window)
                if len(upright) == 0 or keep.any():
                    return self._cut(results, (y, x), size, keep)
        return None

    @cache_randomness
    def _draw(self, height: int, width: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
        """Size (h, w) of a window, and points (y, x) around which to try it."""
        ratio = np.random.choice(self.ratios)
        size = int(self.crop_size[1] * ratio), int(self.crop_size[0] * ratio)
        margins = self._get_border(self.border, width), self._get_border(self.border, height)
        ends = (margins[0], width - margins[0]), (margins[1], height - margins[1])
        points = []
        for _ in range(self.attempts):
            x = int(np.random.randint(*ends[0]))
            points.append((int(np.random.randint(*ends[1])), x))
        return size, points

    @staticmethod
    def _get_border(border: int | None, size: int) -> int:
        """The margin at the edges: ``border``, halved until two of them leave some of ``size``."""
        assert border is not None
        share = 2 * border / size
        halvings = np.ceil(np.log2(np.ceil(share))) + (share == int(share)) if share > 0 else 0
        return int(border // 2**halvings)

    def _padded(self, side: int) -> int:
        mode, number = self.test_pad_mode
        return (side | number) + self.test_pad_add_pix if mode == 'logical_or' else -(-side // number) * number

    def _paste(self, results: dict, center: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Put the window (h, w) around the point (y, x) of the image in the place of the image; its (top, bottom, left, right) in it."""
        image = image_of(results)
        edges, parts = [], []
        for point, side, length in zip(center, size, image.shape[:2]):
            low, high = max(0, point - side // 2), min(point + side // 2, length)
            parts.append(slice(low, high))
            edges += [side // 2 - point + low, side // 2 - point + high]
        top, bottom, left, right = edges
        canvas = np.empty((*size, *image.shape[2:]), image.dtype)
        canvas[:] = self.mean.astype(image.dtype)
        canvas[top:bottom, left:right] = image[tuple(parts)]
        results.update(img=canvas, img_shape=size)
        record_homography(results, [[1, 0, size[1] // 2 - center[1]], [0, 1, size[0] // 2 - center[0]], [0, 0, 1]])
        return np.array(edges, dtype=np.float32)

    def _cut(self, results: dict, center: tuple[int, int], size: tuple[int, int], keep: np.ndarray) -> dict:
        self._paste(results, center, size)
        boxes = results.get('gt_bboxes')
        if boxes is not None:
            boxes.translate_((size[1] // 2 - center[1], size[0] // 2 - center[0]))
            clipped = boxes.clone()
            clipped.clip_(size)
            results['gt_bboxes'] = clipped if self.bbox_clip_border else boxes
            select_objects(results, keep & wider_and_higher(clipped))
        return results


@TRANSFORMS.register_module()
class FilterAnnotations(GeometricTransform):
    """Drop objects that are too small to learn from.

    Args:
        min_gt_bbox_wh: (w, h); with ``by_box``, only boxes that are wider and higher than these stay.
        min_gt_mask_area: with ``by_mask``, only masks of at least this area (pixels) stay; the sample must have masks.
        by_box, by_mask: at least one of them; with both, an object must pass both.
        keep_empty: mmdetection's flag, whose name misleads. True: a sample that loses its last object becomes None (the
            dataset draws another one). False: it is returned without objects, like one that never had any.

    Raises:
        DataError: ``by_mask``, and the sample has objects but no masks.
    """

    moves_masks = True

    def __init__(
        self,
        min_gt_bbox_wh: tuple[float, float] = (1, 1),
        min_gt_mask_area: int = 1,
        by_box: bool = True,
        by_mask: bool = False,
        keep_empty: bool = True,
    ):
        if not is_numbers(min_gt_bbox_wh, 2) or not all(side >= 0 for side in min_gt_bbox_wh):
            raise ConfigError('must be two numbers >= 0', field='min_gt_bbox_wh', received=min_gt_bbox_wh)
        if not by_box and not by_mask:
            raise ConfigError('one of them must be True', field='by_box, by_mask', received=(by_box, by_mask))
        self.min_gt_bbox_wh = tuple(min_gt_bbox_wh)
        self.keep_empty = keep_empty
        # Under names of their own, because the text of the transform shows what mmdetection's does.
        self._min_mask_area, self._by_box, self._by_mask = min_gt_mask_area, by_box, by_mask

    def transform(self, results: dict) -> dict | None:
        boxes = results.get('gt_bboxes')
        if boxes is None or len(boxes) == 0:
            return results
        keep = wider_and_higher(boxes, self.min_gt_bbox_wh) if self._by_box else np.ones(len(boxes), bool)
        if self._by_mask:
            if results.get('gt_masks') is None:
                message = 'by_mask needs masks: LoadAnnotations(with_mask=True)'
                raise DataError(message, file=results.get('img_path'), field='gt_masks')
            keep &= results['gt_masks'].areas >= self._min_mask_area
        if not keep.any() and self.keep_empty:
            return None
        select_objects(results, keep)
        return results
