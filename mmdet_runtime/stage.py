"""A network as one detector, or as one stage of a larger one: images in, boxes in their own pixels out.

Naming: B views of a batch, N candidates of a view, n detections of one image. A view is an image at one scale, plain or flipped.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np

from .canvas import Canvas
from .checks import is_int, is_number
from .errors import ConfigError, ModelInputError
from .resizing import model_size_hw, rescale_size_hw, resize_image
from .suppression import Detections, merge_views
from .ufp import pixel_regions, render_mosaic
from .ufp.mapping import match_rects, source_rects, tile_rects

Network: TypeAlias = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Normalised and padded images (B, 3, H, W) float32, and their (h, w) before the padding, (B, 2) int64, to candidates before the NMS: boxes
(B, N, 4) xyxy in pixels of the input, scores (B, N), 0 where there is none, and labels (B, N) int64."""


class Normalise:
    """From the pixels of a BGR image to the planes of a network's input, (v - mean) / std.

    Args:
        mean, std: 1 or 3 values, in the order of the channels after the swap; empty or None does not normalise.
        bgr_to_rgb: swap the first and last channel.

    Raises:
        ConfigError: other numbers of values, or a ``std`` that is not positive.
    """

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None, bgr_to_rgb: bool):
        mean, std = mean or [0.0], std or [1.0]
        if len(mean) != len(std) or len(mean) not in (1, 3) or not min(std) > 0:
            raise ConfigError('must be 1 or 3 numbers each, std above 0', field='mean, std', received=(mean, std))
        self.mean, self.std = (np.resize(np.asarray(values, np.float32), 3) for values in (mean, std))  # (3,)
        self.channels = (2, 1, 0) if bgr_to_rgb else (0, 1, 2)
        # An 8-bit value is looked up: faster than to compute it, and the same to the last bit.
        levels = np.arange(256, dtype=np.float32)
        self.tables = ((levels - self.mean[:, None]) / self.std[:, None])[:, None]  # (3, 1, 256)

    def __call__(self, image: np.ndarray, planes: np.ndarray) -> None:
        """Write an image (h, w, 3), uint8 or float32, to the planes (3, h, w) float32 of a batch."""
        # All channels in one pass over the image, each written to its place: of 8 bits in three quarters of the time of one pass for each. Swapped or
        # not, the order is its own inverse.
        values = np.empty((3, *image.shape[:2]), np.uint8) if image.dtype == np.uint8 else planes
        cv2.split(image, [values[self.channels[channel]] for channel in range(3)])
        for mean, std, table, value, plane in zip(self.mean, self.std, self.tables, values, planes):
            if image.dtype == np.uint8:
                cv2.LUT(value, table, dst=plane)
            else:
                plane -= mean
                plane /= std


@dataclasses.dataclass(frozen=True)
class Mosaic:
    """The mosaic of an image, to be drawn.

    Attributes:
        image: (H, W, 3) uint8 or float32.
        regions: (R, 7) of :func:`~mmdet_runtime.ufp.UnifiedForegroundPacking`.
        shape: height and width of the mosaic in pixels, and 3.
    """

    image: np.ndarray
    regions: np.ndarray
    shape: tuple[int, int, int]

    def pixels(self, dtype: Any = None) -> np.ndarray:
        """The mosaic in the dtype of the image or in another, float32 say, which keeps the fractions between its pixels as the toolbox does."""
        return render_mosaic(self.image, self.regions, self.shape[1], self.shape[0], dtype=dtype)

    @functools.cached_property
    def rounded(self) -> np.ndarray:
        """The regions (R, 7) as they are drawn, see :func:`~mmdet_runtime.ufp.pixel_regions`."""
        return pixel_regions(self.regions)

    def tiles(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Edges (R, 4) xyxy of the tiles in a mosaic that is resized to a size, in whole pixels of it."""
        factor = np.array([size_hw[1] / self.shape[1], size_hw[0] / self.shape[0]] * 2)
        return np.rint(tile_rects(self.rounded) * factor).astype(np.int64)

    def small(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The mosaic resized to (h, w): each tile is resized once from the image to its place, :meth:`tiles`; (h, w, 3) in the image's dtype."""
        picture = np.zeros((*size_hw, 3), self.image.dtype)
        image, sources = self.image, source_rects(self.rounded).astype(np.int64).tolist()
        for (x1, y1, x2, y2), (left, top, right, bottom) in zip(sources, self.tiles(size_hw).tolist()):
            if right > left and bottom > top and x2 > x1 and y2 > y1:
                place = picture[top:bottom, left:right]
                cv2.resize(image[y1:y2, x1:x2], (right - left, bottom - top), place, interpolation=cv2.INTER_LINEAR)
        return picture

    def to_image(
        self, bboxes: np.ndarray, size_hw: tuple[int, int], min_overlap: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As :func:`~mmdet_runtime.ufp.boxes_to_image`, of boxes (K, 4) in pixels of the mosaic that :meth:`small` drew at a size."""
        factor = np.array([self.shape[1] / size_hw[1], self.shape[0] / size_hw[0]] * 2)
        tiles, sources = self.tiles(size_hw) * factor, source_rects(self.rounded)
        region, box = match_rects(bboxes.astype(np.float64), tiles, min_overlap)
        tiles, sources = tiles[region].reshape(-1, 2, 2), sources[region].reshape(-1, 2, 2)  # (M, corners, xy)
        scale = (sources[:, 1:] - sources[:, :1]) / (tiles[:, 1:] - tiles[:, :1])
        mapped = (bboxes[box].reshape(-1, 2, 2) - tiles[:, :1]) * scale + sources[:, :1]
        return mapped.reshape(-1, 4).astype(bboxes.dtype), box, region


@dataclasses.dataclass(frozen=True)
class _View:
    """Image number ``owner`` at one scale; ``size_hw``: of the network's image before padding; ``flipped``: the network sees it mirrored."""

    owner: int
    scale: int
    size_hw: tuple[int, int]
    flipped: bool


class Stage:
    """Resize, normalise, detect, map back; optionally at several scales, and with the flipped image as a further view of each.

    The candidates of all views go through one NMS, in which those of an end-to-end network do not suppress others of their own view. Images are
    batched by padded size, so that the detections of one image never depend on the padding of another. The toolbox's :class:`mmdet.models.detectors.DetectionStage` does the same with tensors.

    Args:
        network: computes the candidates.
        scales: (w, h) limits of the long and the short side, in either order, one for each view.
        flip: add the horizontally flipped view of each.
        keep_ratio: keep the aspect ratio; False brings images to exactly (w, h).
        max_zoom: images are enlarged by no more than this; None enlarges all to the scale.
        batch_size: largest number of views in one pass.
        mean, std, bgr_to_rgb: see :class:`Normalise`.
        pad_divisor: sides of the input are multiples of it.
        pad_value: of the padding, in normalised units.
        input_hw: the only size that the network takes; None takes all multiples of the divisor.
        input_rule: further arguments of :func:`~mmdet_runtime.resizing.model_size_hw`, for a network that does not take all of these; None for none.
        test_cfg: ``nms`` (see :func:`~mmdet_runtime.suppression.batched_nms`), ``max_per_img`` and ``min_bbox_size``, as of a head. The score
            threshold is in the network.
        min_score: leave out candidates that do not score more than this, for a network whose threshold is lower.
        clips_boxes: whether the network's boxes end at the border of the image; otherwise they are clipped here.
        end_to_end: whether the network has one box for each object of a view. Without ``nms``, several views are then merged by
            :data:`~mmdet_runtime.suppression.ACROSS_VIEWS`.
        canvas: arguments of :class:`~mmdet_runtime.canvas.Canvas`, for images that are not simply resized; None resizes.
        exact_resize: how 8-bit images are resized, see :func:`~mmdet_runtime.resizing.resize_image`. False for a detector on its own, whose test
            pipeline resizes; True for a stage of a composite one.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(
        self,
        network: Network,
        *,
        scales: Sequence[Sequence[int]],
        flip: bool = False,
        keep_ratio: bool = True,
        max_zoom: float | None = None,
        batch_size: int = 8,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        pad_divisor: int = 1,
        pad_value: float = 0.0,
        input_hw: Sequence[int] | None = None,
        input_rule: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        min_score: float = 0.0,
        clips_boxes: bool = True,
        end_to_end: bool = False,
        canvas: Mapping[str, Any] | None = None,
        exact_resize: bool = False,
    ):
        if not scales or any(len(size) != 2 or min(size) < 1 for size in scales):
            raise ConfigError('must be one or more sizes (w, h), positive', field='scales', received=scales)
        for name, value in (('batch_size', batch_size), ('pad_divisor', pad_divisor)):
            if not is_int(value, 1):
                raise ConfigError('must be a whole number of at least 1', field=name, received=value)
        if max_zoom is not None and not (is_number(max_zoom) and 0 < max_zoom < float('inf')):
            raise ConfigError('must be None or a positive number', field='max_zoom', received=max_zoom)
        self.network, self.flip, self.keep_ratio, self.max_zoom = network, flip, keep_ratio, max_zoom
        self.scales = [(int(width), int(height)) for width, height in scales]
        self.batch_size, self.pad_divisor, self.pad_value = batch_size, pad_divisor, pad_value
        self.input_hw = None if input_hw is None else (int(input_hw[0]), int(input_hw[1]))
        self.input_rule = input_rule
        self.normalise = Normalise(mean, std, bgr_to_rgb)
        self.exact_resize = exact_resize
        self.canvas = None if canvas is None else Canvas(**canvas)
        if canvas is not None and (flip or max_zoom is not None):
            raise ConfigError(
                'must be null for a stage with a canvas', field='flip, max_zoom', received=(flip, max_zoom)
            )
        self.test_cfg, self.min_score, self.clips_boxes = dict(test_cfg or {}), min_score, clips_boxes
        self.end_to_end = end_to_end
        self.merge([Detections.empty()])  # an NMS that is not known here is refused before the first image

    def detect(self, images: Sequence[np.ndarray | Mosaic]) -> list[Detections]:
        """Detections of (h, w, 3) BGR images, uint8 or float32 in [0, 255], of any sizes.

        A :class:`Mosaic` is drawn at each scale's size.

        Returns:
            per image boxes in its pixels, by falling score.

        Raises:
            ModelInputError: an image without pixels, or too large for ``input_hw``.
        """
        views, order = defaultdict(list), []
        for owner, image in enumerate(images):
            if len(image.shape) != 3 or image.shape[2] != 3 or min(image.shape) == 0:
                raise ModelInputError('must have pixels and the shape (h, w, 3)', field='image', received=image.shape)
            for number, scale in enumerate(self.scales):
                size_hw = self.input_size_hw(image.shape[:2], scale)
                for flipped in (False, True)[: 1 + self.flip]:
                    view = _View(owner, number, size_hw, flipped)
                    views[self._padded(size_hw)].append(view)
                    order.append(view)
        found: dict[_View, Detections] = {}
        for padded_hw, group in views.items():
            for start in range(0, len(group), self.batch_size):
                chunk = group[start : start + self.batch_size]
                batch = self._batch(images, chunk, padded_hw)
                outputs = self.network(batch, np.array([view.size_hw for view in chunk], np.int64))
                for view, boxes, scores, labels in zip(chunk, *outputs):
                    found[view] = self._candidates(boxes, scores, labels, view, images[view.owner].shape)
        own: list[list[Detections]] = [[] for _ in images]
        for view in sorted(
            order, key=lambda view: view.flipped
        ):  # the plain views first: of equal scores the earlier one's stays
            own[view.owner].append(found[view])
        return [self._on_image(self.merge(each), image.shape) for each, image in zip(own, images)]

    def _on_image(self, found: Detections, shape: tuple[int, ...]) -> Detections:
        """Boxes that were found on a canvas end at the border of the image, after the NMS."""
        if self.canvas is not None and self.canvas.warp is not None:
            np.clip(found.bboxes, 0, np.array([shape[1], shape[0]] * 2, np.float32), out=found.bboxes)
        return found

    def merge(self, views: list[Detections]) -> Detections:
        """The candidates of one image's views through the one NMS."""
        nms = self.test_cfg.get('nms')
        return merge_views(views, nms, self.test_cfg.get('max_per_img', -1), self.end_to_end)

    def input_size_hw(self, size_hw: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
        """Height and width, before padding, at which the network sees an image at one of ``scales``."""
        if self.canvas is not None:
            return self.canvas.place(size_hw, scale, self.keep_ratio)[1]
        return rescale_size_hw(size_hw, scale, self.max_zoom) if self.keep_ratio else (scale[1], scale[0])

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        """Width and height at which the network sees an image, borders left out: the largest of the scales."""
        width, height = image_wh
        found = []
        for scale in self.scales:
            if self.canvas is None:
                found.append(self.input_size_hw((height, width), scale)[::-1])
            else:
                matrix, _ = self.canvas.place((height, width), scale, self.keep_ratio)
                found.append((width * matrix[0, 0], height * matrix[1, 1]))
        return max(w for w, _ in found), max(h for _, h in found)

    def _padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        if self.input_hw is None:
            height, width = (-(-side // self.pad_divisor) * self.pad_divisor for side in size_hw)
            return model_size_hw((height, width), **self.input_rule) if self.input_rule else (height, width)
        if size_hw[0] > self.input_hw[0] or size_hw[1] > self.input_hw[1]:
            message = f'must fit into the only input of the network, {self.input_hw} (h, w), after resizing; an export without --static takes any size'
            raise ModelInputError(message, field='image', received=size_hw)
        return self.input_hw

    def _batch(self, images: Sequence[Any], views: list[_View], padded_hw: tuple[int, int]) -> np.ndarray:
        """The network's input (B, 3, H, W)."""
        batch = np.empty((len(views), 3, *padded_hw), np.float32)
        for number, (view, planes) in enumerate(zip(views, batch)):
            height, width = view.size_hw
            planes[:, height:], planes[:, :height, width:] = self.pad_value, self.pad_value
            planes = planes[:, :height, :width]
            before = views[number - 1] if number else None
            if view.flipped and before == dataclasses.replace(view, flipped=False):
                planes[:] = batch[number - 1, :, :height, :width][..., ::-1]
                continue
            self._draw(images[view.owner], planes, self.scales[view.scale])
            if view.flipped:
                planes[:] = planes[..., ::-1].copy()
        return batch

    def _draw(self, image: Any, planes: np.ndarray, scale: tuple[int, int]) -> None:
        if isinstance(image, Mosaic):
            self.normalise(self._small(image, planes.shape[1:]), planes)
        elif self.canvas is not None:
            matrix, canvas_hw = self.canvas.place(image.shape[:2], scale, self.keep_ratio)
            self.normalise(self.canvas.draw(image, matrix, canvas_hw), planes)
        else:
            self.normalise(resize_image(image, planes.shape[1:], exact=self.exact_resize), planes)

    def _small(self, mosaic: Mosaic, size_hw: tuple[int, int]) -> np.ndarray:
        return mosaic.small(size_hw)

    def _candidates(
        self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, view: _View, shape: tuple[int, ...]
    ) -> Detections:
        """The candidates (N, 4), (N,), (N,) of a view in pixels of the image of this shape."""
        kept = np.flatnonzero(scores > self.min_score)
        (height, width), (new_h, new_w) = shape[:2], view.size_hw
        boxes = boxes[kept]
        if self.canvas is None:
            boxes = boxes * np.array([width / new_w, height / new_h] * 2, np.float32)
        else:
            matrix, _ = self.canvas.place((height, width), self.scales[view.scale], self.keep_ratio)
            boxes = (boxes - np.tile(matrix[:2, 2], 2)) / np.tile(matrix.diagonal()[:2], 2)
            boxes = boxes.astype(np.float32)
        found = Detections(boxes, scores[kept], labels[kept])
        sides, least = boxes[:, 2:] - boxes[:, :2], self.test_cfg.get('min_bbox_size', -1)
        if least >= 0:
            found = found[(sides > least).all(axis=1)]
        if not self.clips_boxes:
            np.clip(found.bboxes, 0, np.array([width, height] * 2, np.float32), out=found.bboxes)
            found = found[(found.bboxes[:, 2:] > found.bboxes[:, :2]).all(axis=1)]
        if view.flipped:
            found.bboxes[:, [0, 2]] = width - found.bboxes[:, [2, 0]]
        return found
