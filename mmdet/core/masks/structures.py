"""Masks of the objects of one image: bitmaps, or polygons. The toolbox predicts boxes only; masks follow the boxes through a pipeline.

Naming: N objects; (h, w) is the size of the image that the masks belong to, and an ``out_shape`` is (h, w) as well; points are (x, y).
All methods return new masks; none changes the masks that it is called on.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any, Self

import cv2
import numpy as np
import torch
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import BOX_TYPES

Shape = Sequence[int]
_INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}


def _check_direction(direction: str, allowed: tuple[str, ...] = ('horizontal', 'vertical')) -> None:
    if direction not in allowed:
        raise ArgumentError(f'must be one of {allowed}', field='direction', received=direction)


class BaseInstanceMasks(metaclass=ABCMeta):
    """What bitmaps and polygons have in common: ``masks``, ``height`` and ``width`` of the image, and the methods below."""

    masks: Any
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator:
        return iter(self.masks)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_masks={len(self)}, height={self.height}, width={self.width})'

    @abstractmethod
    def __getitem__(self, index: Any) -> Self:
        """The masks that an int, a slice, a list or an array (bool or int) chooses; an int gives one mask."""

    @property
    @abstractmethod
    def areas(self) -> np.ndarray:
        """(N,) areas in square pixels."""

    @abstractmethod
    def bounds(self) -> np.ndarray:
        """(N, 4) float32 xyxy, the smallest boxes around the masks; zeros for an empty mask. The last pixel's far edge counts as inside."""

    @abstractmethod
    def to_ndarray(self) -> np.ndarray:
        """(N, h, w) bitmaps."""

    @abstractmethod
    def flip(self, flip_direction: str = 'horizontal') -> Self:
        """Mirrored masks: ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both)."""

    @abstractmethod
    def resize(self, out_shape: Shape, interpolation: str = 'nearest') -> Self:
        """Masks scaled to ``out_shape``."""

    @abstractmethod
    def pad(self, out_shape: Shape, pad_val: int = 0) -> Self:
        """Masks on a canvas that is larger on the right and at the bottom."""

    @abstractmethod
    def crop(self, bbox: np.ndarray) -> Self:
        """The window xyxy (4,) of the masks, cut to whole pixels and to the image, and at least one pixel large."""

    @abstractmethod
    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        """Masks placed at (left, top) of a larger canvas."""

    @abstractmethod
    def crop_and_resize(
        self,
        bboxes: Any,
        out_shape: Shape,
        inds: Any,
        device: str = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> Self:
        """For each box (k, 4) xyxy the window of mask ``inds[k]``, scaled to ``out_shape``."""

    @abstractmethod
    def warp(
        self, matrix: np.ndarray, out_shape: Shape, border_value: int = 0, interpolation: str = 'bilinear'
    ) -> Self:
        """Masks mapped by an affine matrix (2, 3) or (3, 3) of points, on a canvas of ``out_shape``; the others below are made of this."""

    def rescale(self, scale: float | Sequence[float], interpolation: str = 'nearest') -> Self:
        """Masks scaled with their aspect ratio, by one factor or to fit inside the long and the short edge ``scale``."""
        if isinstance(scale, Sequence):
            longest, shortest = max(self.height, self.width), min(self.height, self.width)
            factor = min(max(scale) / longest, min(scale) / shortest)
        else:
            factor = scale
        return self.resize((int(self.height * factor + 0.5), int(self.width * factor + 0.5)), interpolation)

    def translate(
        self,
        out_shape: Shape,
        offset: float,
        direction: str = 'horizontal',
        border_value: int = 0,
        interpolation: str = 'bilinear',
    ) -> Self:
        """Masks moved by ``offset`` pixels to the right or down."""
        _check_direction(direction)
        matrix = np.eye(2, 3)
        matrix[0 if direction == 'horizontal' else 1, 2] = offset
        return self.warp(matrix, out_shape, border_value, interpolation)

    def shear(
        self,
        out_shape: Shape,
        magnitude: float,
        direction: str = 'horizontal',
        border_value: int = 0,
        interpolation: str = 'bilinear',
    ) -> Self:
        """Masks sheared about the origin: x' = x + magnitude * y, or y' = y + magnitude * x."""
        _check_direction(direction)
        matrix = np.eye(2, 3)
        matrix[(0, 1) if direction == 'horizontal' else (1, 0)] = magnitude
        return self.warp(matrix, out_shape, border_value, interpolation)

    def rotate(
        self,
        out_shape: Shape,
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        border_value: int = 0,
        interpolation: str = 'bilinear',
    ) -> Self:
        """Masks rotated clockwise by ``angle`` degrees around ``center`` (x, y), the middle of the image by default."""
        if center is None:
            center = ((self.width - 1) / 2, (self.height - 1) / 2)
        return self.warp(cv2.getRotationMatrix2D(center, -angle, scale), out_shape, border_value, interpolation)

    def to_tensor(self, dtype: torch.dtype, device: str | torch.device) -> Tensor:
        """(N, h, w) bitmaps as a tensor."""
        return torch.tensor(self.to_ndarray(), dtype=dtype, device=device)

    def get_bboxes(self, dst_type: str | type = 'hbox') -> Any:
        """Boxes around the masks, as objects of a registered kind given by name or class; ``'hbb'`` is another name of ``'hbox'``.

        Raises:
            ArgumentError: the kind is not registered; it is an AssertionError too.
        """
        if isinstance(dst_type, str):
            name = 'hbox' if dst_type == 'hbb' else dst_type.lower()
            if name not in BOX_TYPES:
                raise ArgumentError(f'must be one of {sorted(BOX_TYPES)}', field='dst_type', received=dst_type)
            dst_type = BOX_TYPES[name]
        return dst_type.from_instance_masks(self)  # type: ignore[attr-defined]

    @classmethod
    def _check_cat(cls, masks: Any) -> None:
        if not isinstance(masks, list | tuple) or not all(isinstance(one, cls) for one in masks):
            raise ArgumentError(f'must be a list of {cls.__name__}', field='masks', received=masks)
        if len(masks) == 0:
            raise ValueError('masks must hold at least one element')


class BitmapMasks(BaseInstanceMasks):
    """Masks as bitmaps.

    Args:
        masks: array (N, h, w), or a list of arrays (h, w); 1 inside.
        height, width: h and w; they decide for an empty list.

    Raises:
        ArgumentError: another shape; it is an AssertionError too.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int):
        self.height, self.width = int(height), int(width)
        if len(masks) == 0:
            kind = masks.dtype if isinstance(masks, np.ndarray) else np.dtype(np.uint8)
            self.masks = np.zeros((0, self.height, self.width), kind)
            return
        array = masks if isinstance(masks, np.ndarray) else np.stack(list(masks))
        if array.shape != (len(array), self.height, self.width):
            message = f'must be (N, {self.height}, {self.width})'
            raise ArgumentError(message, field='masks', received=array.shape)
        self.masks = array

    def __getitem__(self, index: Any) -> Self:
        return self._like(self.masks[index].reshape(-1, self.height, self.width))

    def _like(self, masks: np.ndarray) -> Self:
        return type(self)(masks, *masks.shape[1:])

    def _each(self, function: Callable[[np.ndarray], np.ndarray], out_shape: Shape) -> Self:
        """OpenCV's function of one mask for each; bool becomes uint8 for it."""
        masks = np.zeros((len(self), *map(int, out_shape)), self.masks.dtype)
        for target, mask in zip(masks, self.masks):
            target[:] = function(mask.view(np.uint8) if mask.dtype == bool else np.ascontiguousarray(mask))
        return self._like(masks)

    @property
    def areas(self) -> np.ndarray:
        return self.masks.sum((1, 2))

    def bounds(self) -> np.ndarray:
        boxes = np.zeros((len(self), 4), np.float32)
        for box, mask in zip(boxes, self.masks if self.masks.size else ()):
            x, y, width, height = cv2.boundingRect(mask if mask.dtype == np.uint8 else (mask != 0).view(np.uint8))
            box[:] = x, y, x + width, y + height
        return boxes

    def to_ndarray(self) -> np.ndarray:
        return self.masks

    def flip(self, flip_direction: str = 'horizontal') -> Self:
        _check_direction(flip_direction, ('horizontal', 'vertical', 'diagonal'))
        axes = dict(horizontal=(2,), vertical=(1,), diagonal=(1, 2))[flip_direction]
        return self._like(np.ascontiguousarray(np.flip(self.masks, axes)))

    def resize(self, out_shape: Shape, interpolation: str = 'nearest') -> Self:
        size_wh, flag = (int(out_shape[1]), int(out_shape[0])), _INTERPOLATIONS[interpolation]
        return self._each(lambda mask: cv2.resize(mask, size_wh, interpolation=flag), out_shape[:2])

    def pad(self, out_shape: Shape, pad_val: int = 0) -> Self:
        masks = np.full((len(self), *map(int, out_shape[:2])), pad_val, self.masks.dtype)
        masks[:, : self.height, : self.width] = self.masks
        return self._like(masks)

    def crop(self, bbox: np.ndarray) -> Self:
        x1, y1, x2, y2 = _window(bbox, self.height, self.width)
        return self._like(self.masks[:, y1:y2, x1:x2])

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        masks = np.zeros((len(self), expanded_h, expanded_w), self.masks.dtype)
        masks[:, top : top + self.height, left : left + self.width] = self.masks
        return self._like(masks)

    def crop_and_resize(
        self,
        bboxes: Any,
        out_shape: Shape,
        inds: Any,
        device: str = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> Self:
        """By RoIAlign (He et al., Mask R-CNN, ICCV 2017) with half-pixel centres; ``binarize`` asks for at least half of a cell."""
        height, width = map(int, out_shape)
        boxes, chosen = (np.asarray(value.cpu() if isinstance(value, Tensor) else value) for value in (bboxes, inds))
        cells = np.zeros((len(boxes), height, width), np.float32)
        for cell, (x1, y1, x2, y2), mask in zip(cells, boxes.tolist(), self.masks[chosen.astype(int)]):
            rows, columns = _cell_weights(y1, y2, height, self.height), _cell_weights(x1, x2, width, self.width)
            cell[:] = rows @ mask @ columns.T
        return self._like((cells >= 0.5).astype(self.masks.dtype) if binarize else cells)

    def warp(
        self, matrix: np.ndarray, out_shape: Shape, border_value: int = 0, interpolation: str = 'bilinear'
    ) -> Self:
        size_wh, flags = (int(out_shape[1]), int(out_shape[0])), _INTERPOLATIONS[interpolation]
        affine = np.asarray(matrix, np.float64)[:2]

        def warped(mask: np.ndarray) -> np.ndarray:
            return cv2.warpAffine(mask, affine, size_wh, flags=flags, borderValue=border_value)

        return self._each(warped, out_shape[:2])

    @classmethod
    def random(
        cls, num_masks: int = 3, height: int = 32, width: int = 32, dtype: Any = np.uint8, rng: Any = None
    ) -> Self:
        """Random zeros and ones; ``rng`` is a seed or a ``numpy.random.RandomState``."""
        state = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
        return cls((state.rand(num_masks, height, width) > 0.1).astype(dtype), height, width)

    @classmethod
    def cat(cls, masks: Sequence[Self]) -> Self:
        """Masks of the same image joined. ArgumentError for anything but a list of bitmaps, ValueError for an empty one."""
        cls._check_cat(masks)
        return cls(np.concatenate([one.masks for one in masks]), masks[0].height, masks[0].width)


class PolygonMasks(BaseInstanceMasks):
    """Masks as polygons.

    Args:
        masks: for each object a list of polygons, each a flat array x0, y0, x1, y1, ...
        height, width: of the image.

    Raises:
        ArgumentError: no such lists; it is an AssertionError too.
    """

    def __init__(self, masks: Sequence[Sequence[np.ndarray]], height: int, width: int):
        sound = isinstance(masks, list) and all(
            isinstance(polygons, list) and all(isinstance(polygon, np.ndarray) for polygon in polygons)
            for polygons in masks
        )
        if not sound:
            raise ArgumentError('must be a list of lists of arrays', field='masks', received=masks)
        self.masks, self.height, self.width = masks, int(height), int(width)

    def __getitem__(self, index: Any) -> Self:
        if isinstance(index, slice):
            return self._like(self.masks[index])
        index = np.asarray(index)
        rows = np.flatnonzero(index) if index.dtype == bool else index.reshape(-1).astype(int)
        return self._like([self.masks[row] for row in rows.tolist()])

    def _like(self, masks: list[list[np.ndarray]], shape: Shape | None = None) -> Self:
        height, width = (self.height, self.width) if shape is None else shape[:2]
        return type(self)(masks, height, width)

    def _map(self, function: Callable[[np.ndarray], np.ndarray], out_shape: Shape) -> Self:
        """Masks whose points (k, 2) a function maps."""
        mapped = [[function(one.reshape(-1, 2)).reshape(-1) for one in polygons] for polygons in self.masks]
        return self._like(mapped, out_shape)

    @property
    def areas(self) -> np.ndarray:
        """Of the polygons by the shoelace formula; overlaps of polygons of one object count twice."""
        return np.array([sum(_polygon_area(polygon) for polygon in polygons) for polygons in self.masks], np.float64)

    def bounds(self) -> np.ndarray:
        boxes = np.zeros((len(self), 4), np.float32)
        for box, polygons in zip(boxes, self.masks):
            if polygons:
                points = np.concatenate(polygons).reshape(-1, 2)
                box[:2], box[2:] = points.min(axis=0), points.max(axis=0)
        return boxes

    def to_bitmap(self) -> BitmapMasks:
        """Bitmaps of bool."""
        return BitmapMasks(self.to_ndarray(), self.height, self.width)

    def to_ndarray(self) -> np.ndarray:
        """(N, h, w) bool."""
        bitmaps = np.zeros((len(self), self.height, self.width), bool)
        for bitmap, polygons in zip(bitmaps, self.masks):
            bitmap[:] = polygon_to_bitmap(polygons, self.height, self.width)
        return bitmaps

    def flip(self, flip_direction: str = 'horizontal') -> Self:
        _check_direction(flip_direction, ('horizontal', 'vertical', 'diagonal'))
        low = np.array([self.width * (flip_direction != 'vertical'), self.height * (flip_direction != 'horizontal')])
        sign = np.where(low > 0, -1, 1)
        return self._map(lambda points: low + sign * points, (self.height, self.width))

    def resize(self, out_shape: Shape, interpolation: str | None = None) -> Self:
        factor = np.array([out_shape[1] / self.width, out_shape[0] / self.height])
        return self._map(lambda points: points * factor, out_shape)

    def pad(self, out_shape: Shape, pad_val: int = 0) -> Self:
        return self._like(self.masks, out_shape)

    def crop(self, bbox: np.ndarray) -> Self:
        """The window of the masks; an object that leaves it keeps one polygon without area, six zeros."""
        x1, y1, x2, y2 = _window(bbox, self.height, self.width)
        low, high = np.array([x1, y1]), np.array([x2, y2])
        cropped = []
        for polygons in self.masks:
            parts = [_clip_polygon(polygon.reshape(-1, 2), low, high) - low for polygon in polygons]
            cropped.append([part.reshape(-1) for part in parts if len(part) > 2] or [np.zeros(6)])
        return self._like(cropped, (y2 - y1, x2 - x1))

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        offset = np.array([left, top])
        return self._map(lambda points: points + offset, (expanded_h, expanded_w))

    def crop_and_resize(
        self,
        bboxes: Any,
        out_shape: Shape,
        inds: Any,
        device: str = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> Self:
        """Points keep their place relative to the box, and are not cut to it."""
        boxes, chosen = (np.asarray(value.cpu() if isinstance(value, Tensor) else value) for value in (bboxes, inds))
        size_wh, masks = np.array([out_shape[1], out_shape[0]]), []
        for box, index in zip(boxes, chosen.astype(int).tolist()):
            factor = size_wh / np.maximum(box[2:] - box[:2], 1)
            masks.append([((one.reshape(-1, 2) - box[:2]) * factor).reshape(-1) for one in self.masks[index]])
        return self._like(masks, out_shape)

    def warp(
        self, matrix: np.ndarray, out_shape: Shape, border_value: int | None = 0, interpolation: str | None = 'bilinear'
    ) -> Self:
        """Points are moved to the edge of the canvas where they leave it. ArgumentError for a ``border_value`` other than 0."""
        if border_value not in (0, None):
            raise ArgumentError('must be 0 or None for polygons', field='border_value', received=border_value)
        affine, limit = np.asarray(matrix, np.float64), np.array([out_shape[1], out_shape[0]])
        return self._map(lambda points: np.clip(points @ affine[:2, :2].T + affine[:2, 2], 0, limit), out_shape)

    @classmethod
    def random(
        cls,
        num_masks: int = 3,
        height: int = 32,
        width: int = 32,
        n_verts: int = 5,
        dtype: Any = np.float32,
        rng: Any = None,
    ) -> Self:
        """Random convex polygons of ``n_verts`` points on an ellipse; ``rng`` is a seed or a ``numpy.random.RandomState``."""
        state = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
        masks = []
        for _ in range(num_masks):
            angles = np.sort(state.rand(n_verts)) * 2 * np.pi
            radius, center = state.uniform(0.1, 0.25, 2), state.uniform(0.25, 0.75, 2)
            points = (center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)) * (width, height)
            masks.append([points.astype(dtype).reshape(-1)])
        return cls(masks, height, width)

    @classmethod
    def cat(cls, masks: Sequence[Self]) -> Self:
        """Masks of the same image joined. ArgumentError for anything but a list of polygon masks, ValueError for an empty one."""
        cls._check_cat(masks)
        return cls([polygons for one in masks for polygons in one.masks], masks[0].height, masks[0].width)


def _window(bbox: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """A box (4,) as whole pixels x1, y1, x2, y2 inside the image, at least one pixel wide and high where there is room."""
    box = np.asarray(bbox)
    if box.shape != (4,):
        raise ArgumentError('must be (4,)', field='bbox', received=box.shape)
    x1, x2 = np.clip(box[0::2], 0, width).astype(int).tolist()
    y1, y2 = np.clip(box[1::2], 0, height).astype(int).tolist()
    return x1, y1, min(max(x2, x1 + 1), width), min(max(y2, y1 + 1), height)


def _cell_weights(low: float, high: float, cells: int, length: int) -> np.ndarray:
    """(cells, length) weights of the pixels along one axis of RoIAlign: each cell is the mean of its evenly spaced bilinear samples."""
    step = (high - low) / cells
    samples = max(1, ceil(step))
    offsets = (np.arange(samples) + 0.5) / samples
    place = low - 0.5 + (np.arange(cells)[:, None] + offsets) * step  # (cells, samples)
    outside = (place < -1) | (place > length)
    place = np.clip(place, 0, length - 1)
    weights = np.clip(1 - np.abs(place[..., None] - np.arange(length)), 0, None)  # (cells, samples, length)
    weights[outside] = 0
    return weights.mean(axis=1).astype(np.float32)


def _polygon_area(polygon: np.ndarray) -> float:
    x, y = polygon[0::2].astype(np.float64), polygon[1::2].astype(np.float64)
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


def _clip_polygon(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A polygon (k, 2) cut to the window ``low`` to ``high``, one side after the other (Sutherland and Hodgman, 1974)."""
    for axis in (0, 1):
        for limit, sign in ((low[axis], 1), (high[axis], -1)):
            if len(points) == 0:
                return points
            depth = sign * (points[:, axis] - limit)
            after, depth_after = np.roll(points, -1, axis=0), np.roll(depth, -1)
            kept = []
            for point, other, d, e in zip(points, after, depth, depth_after):
                if d >= 0:
                    kept.append(point)
                if (d > 0 > e) or (d < 0 < e):
                    kept.append(point + (other - point) * (d / (d - e)))
            points = np.array(kept).reshape(-1, 2)
    return points


def polygon_to_bitmap(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """(h, w) bool, the union of flat polygons, filled as the COCO API fills them."""
    if len(polygons) == 0:
        return np.zeros((height, width), bool)
    import pycocotools.mask as coco_mask  # only for pipelines with masks

    codes = coco_mask.frPyObjects([np.asarray(polygon, np.float64).tolist() for polygon in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(codes)).astype(bool)


def mask_to_bitmap(mask: Sequence[np.ndarray] | dict, height: int, width: int) -> np.ndarray:
    """(h, w) uint8 of a mask of an annotation file: flat polygons, or run lengths, plain or compressed (a dict of the COCO API).

    Raises:
        ValueError: run lengths of another size, or such that do not fill it.
    """
    if not isinstance(mask, dict):
        return polygon_to_bitmap(mask, height, width).astype(np.uint8)
    import pycocotools.mask as coco_mask  # as above

    counts, size = mask['counts'], [int(side) for side in mask['size']]
    if size != [height, width] or (isinstance(counts, list) and sum(counts) != height * width):
        raise ValueError(f'the run lengths do not fill an image of ({height}, {width})')
    return coco_mask.decode(coco_mask.frPyObjects(mask, height, width) if isinstance(counts, list) else mask)


def bitmap_to_polygon(bitmap: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """The contours of a bitmap (h, w), each (k, 2) int32 x, y of border pixels, and whether one of them is a hole."""
    contours, hierarchy = cv2.findContours(
        np.ascontiguousarray(bitmap).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    if hierarchy is None:
        return [], False
    return [contour.reshape(-1, 2) for contour in contours], bool((hierarchy.reshape(-1, 4)[:, 3] >= 0).any())
