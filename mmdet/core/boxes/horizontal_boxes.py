"""Axis-aligned boxes as objects. Naming as in :mod:`.base_boxes`; xyxy means x1, y1, x2, y2."""

from collections.abc import Sequence
from math import cos, radians, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet.core.masks import BaseInstanceMasks, BitmapMasks
from mmdet.errors import ArgumentError

from .base_boxes import BaseBoxes
from .box_type import register_box
from .overlaps import bbox_overlaps
from .transforms import (
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_xyxy_to_cxcywh,
    corners_of,
    get_box_tensor,
    hull_of,
    project_corners,
)


@register_box('hbox')
class HorizontalBoxes(BaseBoxes):
    """Boxes (..., 4) xyxy in pixels.

    Args:
        data, dtype, device, clone: as of :class:`BaseBoxes`.
        in_mode: how ``data`` is given: ``'xyxy'`` (also None) or ``'cxcywh'``, centre and size.

    Raises:
        ValueError: another ``in_mode``.
    """

    box_dim = 4

    def __init__(
        self,
        data: Tensor | np.ndarray | Sequence,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        clone: bool = True,
        in_mode: str | None = None,
    ):
        super().__init__(data, dtype=dtype, device=device, clone=clone)
        if in_mode not in (None, 'xyxy', 'cxcywh'):
            raise ValueError(f"in_mode must be 'xyxy', 'cxcywh' or None. Received: {in_mode!r}")
        if in_mode == 'cxcywh':
            self.tensor = bbox_cxcywh_to_xyxy(self.tensor)

    xyxy_to_cxcywh = staticmethod(bbox_xyxy_to_cxcywh)
    cxcywh_to_xyxy = staticmethod(bbox_cxcywh_to_xyxy)
    hbox2corner = staticmethod(corners_of)
    corner2hbox = staticmethod(hull_of)

    @property
    def cxcywh(self) -> Tensor:
        """(..., 4) centre x, centre y, width, height."""
        return bbox_xyxy_to_cxcywh(self.tensor)

    @property
    def centers(self) -> Tensor:
        return (self.tensor[..., :2] + self.tensor[..., 2:]) / 2

    @property
    def areas(self) -> Tensor:
        return self.widths * self.heights

    @property
    def widths(self) -> Tensor:
        return self.tensor[..., 2] - self.tensor[..., 0]

    @property
    def heights(self) -> Tensor:
        return self.tensor[..., 3] - self.tensor[..., 1]

    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        self.tensor = bbox_flip(self.tensor, img_shape, direction)

    def translate_(self, distances: tuple[float, float]) -> None:
        self.tensor = self.tensor + self._pair('distances', distances)

    def clip_(self, img_shape: tuple[int, int]) -> None:
        height, width = img_shape[:2]
        # In half the time of two strided halves.
        limits = torch.tensor((width, height, width, height), dtype=self.tensor.dtype, device=self.tensor.device)
        self.tensor.clamp_(min=0).clamp_(max=limits)

    def rotate_(self, center: tuple[float, float], angle: float) -> None:
        """The upright hull of the boxes, turned clockwise by ``angle`` degrees around ``center``."""
        (x, y), c, s = center, cos(radians(angle)), sin(radians(angle))
        self.project_(np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]]))

    def project_(self, homography_matrix: Tensor | np.ndarray) -> None:
        """The upright hull of the projected corners."""
        matrix = torch.as_tensor(homography_matrix, dtype=self.dtype, device=self.device)
        self.tensor = project_corners(self.tensor, matrix)

    def rescale_(self, scale_factor: tuple[float, float]) -> None:
        self.tensor = self.tensor * self._pair('scale_factor', scale_factor)

    def resize_(self, scale_factor: tuple[float, float]) -> None:
        halves = self.tensor.new_tensor(scale_factor) * (self.tensor[..., 2:] - self.tensor[..., :2]) / 2
        centers = self.centers
        self.tensor = torch.cat([centers - halves, centers + halves], dim=-1)

    def _pair(self, field: str, pair: Sequence[float]) -> Tensor:
        if len(pair) != 2:
            raise ArgumentError('must be two numbers (x, y)', field=field, received=pair)
        dtype = self.dtype if self.dtype.is_floating_point else None  # whole numbers become floating ones
        return torch.tensor((*pair, *pair), dtype=dtype, device=self.device)

    def is_inside(self, img_shape: tuple[int, int], all_inside: bool = False, allowed_border: int = 0) -> Tensor:
        """(...,) bool: boxes of which all, or a part, is inside the image grown by ``allowed_border`` pixels on each side."""
        height, width = img_shape[0] + allowed_border, img_shape[1] + allowed_border
        x1, y1, x2, y2 = self.tensor.unbind(-1)
        if all_inside:
            return (x1 >= -allowed_border) & (y1 >= -allowed_border) & (x2 < width) & (y2 < height)
        return (x1 < width) & (y1 < height) & (x2 > -allowed_border) & (y2 > -allowed_border)

    def find_inside_points(self, points: Tensor, is_aligned: bool = False) -> Tensor:
        """Which points lie in which boxes, edges included.

        Args:
            points: (m, 2) x, y.
            is_aligned: compare point i with box i only; m = n.

        Returns:
            (m, n) bool, or (n,) when aligned.

        Raises:
            ArgumentError: boxes that are not (n, 4), or unequal aligned counts.
        """
        if self.dim() != 2 or (is_aligned and len(points) != len(self)):
            message = 'boxes must be (n, 4), and aligned points equally many'
            raise ArgumentError(message, field='points', received=(tuple(self.shape), tuple(points.shape)))
        if not is_aligned:
            points = points[:, None]
        low, high = self.tensor[:, :2], self.tensor[:, 2:]
        return ((points >= low) & (points <= high)).all(-1)

    def create_masks(self, img_shape: tuple[int, int]) -> BitmapMasks:
        """Bitmaps (n, height, width) with 1 inside the boxes, whose edges are cut to whole pixels and to the image."""
        height, width = img_shape[:2]
        masks = np.zeros((len(self), height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, self.tensor.long().clamp(min=0).tolist()):
            mask[y1:y2, x1:x2] = 1
        return BitmapMasks(masks, height, width)

    @staticmethod
    def overlaps(boxes1: Any, boxes2: Any, mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6) -> Tensor:
        """See :func:`~mmdet.core.boxes.overlaps.bbox_overlaps`."""
        return bbox_overlaps(get_box_tensor(boxes1), get_box_tensor(boxes2), mode, is_aligned, eps)

    @staticmethod
    def from_instance_masks(masks: Any) -> 'HorizontalBoxes':
        """The smallest boxes, float32, around the masks; all zeros for an empty mask. TypeError for anything but masks."""
        if not isinstance(masks, BaseInstanceMasks):
            raise TypeError(f'masks must be BitmapMasks or PolygonMasks. Received: {type(masks).__name__}')
        return HorizontalBoxes(masks.bounds())
