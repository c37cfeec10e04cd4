"""Transforms that mix several images into one, and the affine warp that goes with them (YOLOX, arXiv 2107.08430; RTMDet, arXiv 2212.07784).

``Mosaic``, ``MixUp`` and ``CopyPaste`` take their partners from ``results['mix_results']``, where :class:`MultiImageMixDataset` puts those that
``get_indexes`` asks for. ``CachedMosaic`` and ``CachedMixUp`` are ordinary transforms: they take them from the samples that they saw last.
Sizes in arguments are (w, h); images are (H, W, 3) BGR, boxes (N, 4) xyxy float32 in pixels.
"""

import copy
import itertools
from abc import abstractmethod
from collections.abc import Sequence
from math import cos, radians, sin, tan
from typing import Any

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import BaseBoxes, HorizontalBoxes, autocast_box_type, cat_boxes
from mmdet.core.masks import BitmapMasks
from mmdet.errors import ConfigError, DataError
from mmdet.registry import TRANSFORMS
from mmdet.utils.checks import is_int

from .arguments import (
    OBJECT_KEYS,
    check_pad_value,
    check_pair,
    check_probability,
    check_range,
    check_size,
    image_of,
    is_number,
    record_homography,
    select_objects,
)
from .base import GeometricTransform
from .resize import warp_image

CutOut = tuple[tuple[slice, slice], np.ndarray]
"""A window of an image, as slices of y and x, and the mask (bool) of an object in it."""
NEEDS_DATASET = 'wrap the dataset in a MultiImageMixDataset, and move this transform into its pipeline'


def finish(results: dict, image: np.ndarray, boxes: BaseBoxes | None, clip: bool) -> dict:
    """Put in the new image and its boxes, clipped if ``clip``; objects wholly outside, or flat on an edge after clipping, are dropped."""
    shape = image.shape[:2]
    results.update(img=image, img_shape=shape)
    if boxes is not None:
        if clip:
            boxes.clip_(shape)
        results['gt_bboxes'] = boxes
        select_objects(results, boxes.is_inside(shape).numpy())
    return results


def join_objects(results: dict, partners: Sequence[dict]) -> None:
    """Append what the partners hold of every object, except the boxes, to what ``results`` holds."""
    for key in OBJECT_KEYS:
        if key != 'gt_bboxes' and results.get(key) is not None:
            results[key] = np.concatenate([part[key] for part in (results, *partners)])


class Mixing(GeometricTransform):
    """A transform that needs ``count`` partners for each image."""

    count = 1

    def get_indexes(self, dataset: Any) -> list[int]:
        """Positions of the partners in ``dataset``, uniformly drawn."""
        return [int(np.random.randint(0, len(dataset))) for _ in range(self.count)]

    def partners(self, results: dict) -> list[dict]:
        """The partners of this image, in the order in which :meth:`get_indexes` asked for them.

        Raises:
            DataError: the dataset did not provide them.
        """
        found = results.get('mix_results')
        if not found or len(found) != self.count:
            message = f'{type(self).__name__} needs {self.count} more images: {NEEDS_DATASET}'
            received = None if found is None else len(found)
            raise DataError(message, file=results.get('img_path'), field='mix_results', received=received)
        return found

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        return self.mix(results, self.partners(results))

    @abstractmethod
    def mix(self, results: dict, partners: list[dict]) -> dict:
        """The image mixed with its partners, which are not written to."""


@TRANSFORMS.register_module()
class Mosaic(Mixing):
    """Four images around a random centre of a canvas of twice their size: itself top left, then top right, bottom left, bottom right.

    Args:
        img_scale: (w, h) of a quarter; each image is resized into it, with its aspect ratio.
        center_ratio_range: (low, high) of the centre's x and y over w and h.
        bbox_clip_border: clip the boxes to the canvas. Objects wholly outside are dropped in either case.
        pad_val: colour of the canvas where no image is, one number or one per channel.
        prob: probability of a mosaic; otherwise the image stays as it is.
    """

    count = 3

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        bbox_clip_border: bool = True,
        pad_val: float | Sequence[float] = 114.0,
        prob: float = 1.0,
    ):
        self.img_scale = check_size('img_scale', img_scale)
        self.center_ratio_range = check_range('center_ratio_range', center_ratio_range)
        if self.center_ratio_range[1] > 2:
            raise ConfigError('must lie in [0, 2]', field='center_ratio_range', received=center_ratio_range)
        self.bbox_clip_border = bbox_clip_border
        self.pad_val = check_pad_value('pad_val', pad_val)
        self.prob = check_probability('prob', prob)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        partners = self.partners(results)
        return results if np.random.uniform(0, 1) > self.prob else self.mix(results, partners)

    def mix(self, results: dict, partners: list[dict]) -> dict:
        width, height = self.img_scale
        centre = tuple(int(np.random.uniform(*self.center_ratio_range) * side) for side in self.img_scale)
        parts = [results, *partners]
        first = image_of(results)
        canvas = np.empty((2 * height, 2 * width, *first.shape[2:]), first.dtype)
        canvas[:] = np.asarray(self.pad_val).astype(first.dtype)
        all_boxes = []
        for place, part in enumerate(parts):
            image = image_of(part)
            scale = min(height / image.shape[0], width / image.shape[1])
            size = int(image.shape[1] * scale), int(image.shape[0] * scale)
            image = cv2.resize(image, (max(1, size[0]), max(1, size[1])), interpolation=cv2.INTER_LINEAR)
            # Along each axis, what is nearest to the centre stays: the end of an image before it, the beginning of one after it.
            windows, shift = [], []
            for axis, (middle, edge, after) in enumerate(zip(centre, (2 * width, 2 * height), (place % 2, place // 2))):
                length = image.shape[1 - axis]
                if after:
                    start, stop, skip = middle, min(middle + length, edge), 0
                else:
                    start, stop = max(middle - length, 0), middle
                    skip = length - (stop - start)
                windows.append((slice(start, stop), slice(skip, skip + stop - start)))
                shift.append(start - skip)
            (to_x, from_x), (to_y, from_y) = windows
            canvas[to_y, to_x] = image[from_y, from_x]
            if part.get('gt_bboxes') is not None:
                boxes = part['gt_bboxes'].clone()
                boxes.rescale_((scale, scale))
                boxes.translate_(shift)
                all_boxes.append(boxes)
        join_objects(results, partners)
        return finish(results, canvas, cat_boxes(all_boxes) if all_boxes else None, self.bbox_clip_border)


@TRANSFORMS.register_module()
class MixUp(Mixing):
    """The mean of an image and a resized, perhaps mirrored partner with objects; both keep their objects.

    Args:
        img_scale: (w, h) into which the partner is resized, with its aspect ratio, before the jitter.
        ratio_range: (low, high) of the jitter, a factor of the partner's size.
        flip_ratio: the partner is mirrored with probability 1 - flip_ratio: this is what mmdetection does under this name.
        pad_val: colour beside the partner.
        max_iters: how many partners are tried at most until one has objects; without one the image stays as it is.
        bbox_clip_border: clip the partner's boxes to the image. Objects wholly outside are dropped in either case.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        ratio_range: tuple[float, float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | Sequence[float] = 114.0,
        max_iters: int = 15,
        bbox_clip_border: bool = True,
    ):
        self.img_scale = check_size('img_scale', img_scale)
        self.ratio_range = check_range('ratio_range', ratio_range)
        if self.ratio_range[0] == 0:
            raise ConfigError('must be above 0', field='ratio_range', received=ratio_range)
        self.flip_ratio = check_probability('flip_ratio', flip_ratio)
        self.pad_val = check_pad_value('pad_val', pad_val)
        if not is_int(max_iters, 1):
            raise ConfigError('must be an integer >= 1', field='max_iters', received=max_iters)
        self.max_iters = max_iters
        self.bbox_clip_border = bbox_clip_border

    def get_indexes(self, dataset: Any) -> list[int]:
        """Position of a partner with objects, or of the last one that was tried."""
        for _ in range(self.max_iters):
            index = int(np.random.randint(0, len(dataset)))
            # The annotations tell: no image is read for this.
            if len(dataset.get_cat_ids(index)):
                break
        return [index]

    def mix(self, results: dict, partners: list[dict]) -> dict:
        (partner,) = partners
        if results.get('gt_bboxes') is None or not len(partner['gt_bboxes']):
            return results
        target, image = image_of(results), image_of(partner)
        jitter = np.random.uniform(*self.ratio_range)
        mirrored = np.random.uniform(0, 1) > self.flip_ratio
        width, height = self.img_scale
        scale = min(height / image.shape[0], width / image.shape[1])
        image = cv2.resize(
            image,
            (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))),
            interpolation=cv2.INTER_LINEAR,
        )
        canvas = self._grey((height, width), target)
        canvas[: image.shape[0], : image.shape[1]] = image
        canvas = cv2.resize(canvas, (max(1, int(width * jitter)), max(1, int(height * jitter))))
        if mirrored:
            canvas = cv2.flip(canvas, 1)
        canvas_h, canvas_w = canvas.shape[:2]
        target_h, target_w = target.shape[:2]
        top = int(np.random.randint(0, canvas_h - target_h)) if canvas_h > target_h else 0
        left = int(np.random.randint(0, canvas_w - target_w)) if canvas_w > target_w else 0
        crop = canvas[top : top + target_h, left : left + target_w]
        if crop.shape[:2] != (target_h, target_w):
            shown, crop = crop, self._grey((target_h, target_w), target)
            crop[: shown.shape[0], : shown.shape[1]] = shown

        boxes = partner['gt_bboxes'].clone()
        boxes.rescale_((scale * jitter, scale * jitter))
        if self.bbox_clip_border:
            boxes.clip_((canvas_h, canvas_w))
        if mirrored:
            boxes.flip_((canvas_h, canvas_w))
        boxes.translate_((-left, -top))
        if self.bbox_clip_border:
            boxes.clip_((target_h, target_w))
        join_objects(results, partners)
        # OpenCV rounds whole pixels, the reference truncates: a quarter less makes k + 1/2 and k both k.
        whole = np.issubdtype(target.dtype, np.integer)
        mixed = cv2.addWeighted(target, 0.5, crop, 0.5, -0.25 if whole else 0.0)
        return finish(results, mixed, cat_boxes([results['gt_bboxes'], boxes]), clip=False)

    def _grey(self, image_hw: tuple[int, int], like: np.ndarray) -> np.ndarray:
        canvas = np.empty((*image_hw, *like.shape[2:]), like.dtype)
        canvas[:] = np.asarray(self.pad_val).astype(like.dtype)
        return canvas


@TRANSFORMS.register_module()
class CopyPaste(Mixing):
    """Paste objects of a partner of the same size over the image (Simple Copy-Paste, Ghiasi et al., CVPR 2021, arXiv 2012.07177).

    Objects lose the pixels that are pasted over; their boxes shrink to what is left of their masks. Without masks, ``paste_by_box`` takes each
    box as the mask of its object.

    Args:
        max_num_pasted: fewer objects than this, and all of the partner's at most, are pasted; their number is drawn uniformly from 0 on.
        bbox_occluded_thr, mask_occluded_thr: an object stays if no side of its box moved by more than the first, in pixels, or if more than the
            second is left of its mask, in square pixels.
        selected: paste a random choice; otherwise all objects of the partner.
        paste_by_box: take the boxes as masks.

    Raises:
        DataError: the partner has another size (pad first), or there are neither masks nor ``paste_by_box``.
    """

    moves_masks = True

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: float = 10,
        mask_occluded_thr: float = 300,
        selected: bool = True,
        paste_by_box: bool = False,
    ):
        if not is_int(max_num_pasted, 1):
            raise ConfigError('must be an integer >= 1', field='max_num_pasted', received=max_num_pasted)
        self.max_num_pasted, self.selected, self.paste_by_box = max_num_pasted, selected, paste_by_box
        self.bbox_occluded_thr, self.mask_occluded_thr = bbox_occluded_thr, mask_occluded_thr

    def mix(self, results: dict, partners: list[dict]) -> dict:
        (partner,) = partners
        image, source = image_of(results), image_of(partner)
        if image.shape != source.shape:
            message = (
                'needs a partner of the same size: put RandomCrop and Pad(size=...) into the pipeline of the dataset'
            )
            raise DataError(
                message, file=partner.get('img_path'), field='img_shape', received=(image.shape, source.shape)
            )
        chosen = np.arange(len(partner['gt_bboxes']))
        if self.selected:
            count = int(np.random.randint(0, min(len(chosen) + 1, self.max_num_pasted)))
            chosen = np.sort(np.random.choice(len(chosen), size=count, replace=False)) if count else chosen[:0]
        if len(chosen) == 0:
            return results
        shape = image.shape[:2]
        cut_outs = self._cut_outs(partner, shape)
        pasted = [cut_outs[index] for index in chosen.tolist()]
        union = np.zeros(shape, bool)
        for window, mask in pasted:
            union[window] |= mask
        rest = [(window, mask & ~union[window]) for window, mask in self._cut_outs(results, shape)]
        old, boxes = results['gt_bboxes'], HorizontalBoxes(_bounds(rest))
        moved = (boxes.tensor - old.tensor).abs().amax(1).numpy() if len(old) else np.zeros(0)
        areas = np.array([np.count_nonzero(mask) for _, mask in rest])
        stay = (moved <= self.bbox_occluded_thr) | (areas > self.mask_occluded_thr)
        for key in OBJECT_KEYS:
            if key in ('gt_bboxes', 'gt_masks') or results.get(key) is None:
                continue
            results[key] = np.concatenate([results[key][stay], partner[key][chosen]])
        results['gt_bboxes'] = cat_boxes([boxes[stay], partner['gt_bboxes'][chosen]])
        if results.get('gt_masks') is not None:
            shown = [*itertools.compress(rest, stay), *pasted]
            bitmaps = np.zeros((len(shown), *shape), np.uint8)
            for bitmap, (window, mask) in zip(bitmaps, shown):
                bitmap[window] = mask
            results['gt_masks'] = BitmapMasks(bitmaps, *shape)
        results['img'] = cv2.copyTo(np.ascontiguousarray(source), union.view(np.uint8), image.copy())
        return results

    def _cut_outs(self, sample: dict, image_hw: tuple[int, int]) -> list[CutOut]:
        """The objects of a sample, whose bitmaps of whole images would take many times as long."""
        bitmaps: Any
        if self.paste_by_box:
            corners = sample['gt_bboxes'].tensor.int().clamp(min=0)
            bitmaps = itertools.repeat(np.broadcast_to(True, image_hw))
        elif sample.get('gt_masks') is not None:
            masks = BitmapMasks(sample['gt_masks'].to_ndarray(), *image_hw)
            bitmaps, corners = masks, masks.bounds().astype(int)
        else:
            message = 'needs masks (LoadAnnotations(with_mask=True)), or paste_by_box=True'
            raise DataError(message, file=sample.get('img_path'), field='gt_masks')
        windows = [(slice(y1, y2), slice(x1, x2)) for x1, y1, x2, y2 in corners.tolist()]
        return [(window, bitmap[window].astype(bool)) for window, bitmap in zip(windows, bitmaps)]


def _bounds(cut_outs: Sequence[CutOut]) -> np.ndarray:
    """(N, 4) float32 xyxy, the smallest boxes around the masks; zeros for an empty one."""
    boxes = np.zeros((len(cut_outs), 4), np.float32)
    for box, ((rows, columns), mask) in zip(boxes, cut_outs):
        if mask.any():
            x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
            left, top = columns.start + x, rows.start + y
            box[:] = left, top, left + width, top + height
    return boxes


class _Cached(Mixing):
    """Takes partners from the samples that this object, in this process, saw last.

    Which they are depends on the order in which a loader's worker gets its samples: equal seeds give equal batches only with as many workers.
    """

    max_cached_images: int
    random_pop: bool
    prob: float

    def _start(self, max_cached_images: int, random_pop: bool, prob: float) -> None:
        if not is_int(max_cached_images, self.count + 1):
            message = f'must be an integer >= {self.count + 1}'
            raise ConfigError(message, field='max_cached_images', received=max_cached_images)
        self.max_cached_images, self.random_pop = max_cached_images, random_pop
        self.prob = check_probability('prob', prob)
        self.cache: list[dict] = []

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        self.cache.append(
            {key: copy.deepcopy(results[key]) for key in ('img', *OBJECT_KEYS) if results.get(key) is not None}
        )
        if len(self.cache) > self.max_cached_images:
            self.cache.pop(int(np.random.randint(0, len(self.cache) - 1)) if self.random_pop else 0)
        if len(self.cache) <= self.count + (self.count > 1) or np.random.uniform(0, 1) > self.prob:
            return results
        return self.mix(results, self.draw_partners())

    def draw_partners(self) -> list[dict]:
        """``count`` samples of the cache, the newest excepted: it is the image itself."""
        return [self.cache[int(np.random.randint(0, len(self.cache) - 1))] for _ in range(self.count)]


@TRANSFORMS.register_module()
class CachedMosaic(_Cached, Mosaic):
    """:class:`Mosaic` with the samples seen last, which is faster and needs no wrapper of the dataset.

    Args:
        img_scale, center_ratio_range, bbox_clip_border, pad_val, prob: see :class:`Mosaic`.
        max_cached_images: how many samples are kept, >= 4; images stay as they are until there are five.
        random_pop: when the cache is full, drop any but the newest; otherwise the oldest.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        bbox_clip_border: bool = True,
        pad_val: float | Sequence[float] = 114.0,
        prob: float = 1.0,
        max_cached_images: int = 40,
        random_pop: bool = True,
    ):
        super().__init__(img_scale, center_ratio_range, bbox_clip_border, pad_val, prob)
        self._start(max_cached_images, random_pop, prob)


@TRANSFORMS.register_module()
class CachedMixUp(_Cached, MixUp):
    """:class:`MixUp` with one of the samples seen last.

    Args:
        img_scale, ratio_range, flip_ratio, pad_val, max_iters, bbox_clip_border: see :class:`MixUp`.
        max_cached_images, random_pop: see :class:`CachedMosaic`; images stay as they are until there are two.
        prob: probability of the mixture.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        ratio_range: tuple[float, float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | Sequence[float] = 114.0,
        max_iters: int = 15,
        bbox_clip_border: bool = True,
        max_cached_images: int = 20,
        random_pop: bool = True,
        prob: float = 1.0,
    ):
        super().__init__(img_scale, ratio_range, flip_ratio, pad_val, max_iters, bbox_clip_border)
        self._start(max_cached_images, random_pop, prob)

    def draw_partners(self) -> list[dict]:
        for _ in range(self.max_iters):
            (partner,) = super().draw_partners()
            if len(partner.get('gt_bboxes', ())):
                break
        return [partner]


@TRANSFORMS.register_module()
class RandomAffine(GeometricTransform):
    """Turn, scale, shear and shift the image about its top left corner, onto a canvas of another size.

    Args:
        max_rotate_degree: limit of the turn in degrees, drawn uniformly from [-limit, limit].
        max_translate_ratio: limit of the shift as a share of the canvas' sides.
        scaling_ratio_range: (low, high) of the factor of the size.
        max_shear_degree: limit of both shears, in degrees.
        border: (x, y) pixels by which the canvas exceeds the image on either side; negative numbers cut, -w / 4 halves a mosaic of width w.
        border_val: colour beside the image, one number per channel.
        bbox_clip_border: clip the boxes to the canvas. Objects wholly outside are dropped in either case.
    """

    def __init__(
        self,
        max_rotate_degree: float = 10.0,
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: tuple[float, float] = (0.5, 1.5),
        max_shear_degree: float = 2.0,
        border: tuple[int, int] = (0, 0),
        border_val: Sequence[float] = (114, 114, 114),
        bbox_clip_border: bool = True,
    ):
        for field, value in (('max_rotate_degree', max_rotate_degree), ('max_shear_degree', max_shear_degree)):
            if not is_number(value) or not 0 <= value <= 180:
                raise ConfigError('must be degrees in [0, 180]', field=field, received=value)
        self.max_rotate_degree, self.max_shear_degree = max_rotate_degree, max_shear_degree
        self.max_translate_ratio = check_probability('max_translate_ratio', max_translate_ratio)
        self.scaling_ratio_range = check_range('scaling_ratio_range', scaling_ratio_range)
        if self.scaling_ratio_range[0] == 0:
            raise ConfigError('must be above 0', field='scaling_ratio_range', received=scaling_ratio_range)
        x, y = check_pair('border', border, lambda side: side == int(side), 'two whole numbers')
        self.border = int(x), int(y)
        self.border_val = check_pad_value('border_val', border_val)
        self.bbox_clip_border = bbox_clip_border

    @cache_randomness
    def draw(self, canvas_wh: tuple[int, int]) -> np.ndarray:
        """The matrix (3, 3) of one image: first the scale, then the turn, the shear and the shift."""
        angle = radians(np.random.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scale = np.random.uniform(*self.scaling_ratio_range)
        shear_x, shear_y = (
            tan(radians(np.random.uniform(-self.max_shear_degree, self.max_shear_degree))) for _ in range(2)
        )
        shift_x, shift_y = (
            np.random.uniform(-self.max_translate_ratio, self.max_translate_ratio) * side for side in canvas_wh
        )
        turn = np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])
        shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
        return np.array([[1, 0, shift_x], [0, 1, shift_y], [0, 0, 1]]) @ shear @ turn @ np.diag([scale, scale, 1])

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        image = image_of(results)
        width, height = image.shape[1] + 2 * self.border[0], image.shape[0] + 2 * self.border[1]
        if height < 1 or width < 1:
            message = f'{self.border} pixels a side leave nothing of the image'
            raise DataError(message, file=results.get('img_path'), field='border', received=image.shape[:2])
        matrix = self.draw((width, height))
        warped = warp_image(image, matrix[:2], (width, height), self.border_val)
        boxes = results.get('gt_bboxes')
        if boxes is not None:
            boxes = boxes.clone()
            boxes.project_(matrix)
        record_homography(results, matrix)
        return finish(results, warped, boxes, self.bbox_clip_border)
