"""Pictures of cluster-and-pack detection: the regions on the image, their mosaic, and the merged boxes.

Images are RGB uint8 (H, W, 3); boxes are xyxy in pixels. A region has the same number in both pictures; the grey of its
outline shows its zoom, because colours show classes. Letters: R regions, N boxes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from numpy.typing import ArrayLike
from torch import Tensor

from ..core.ufp import UnifiedForegroundPacking, boxes_to_image, boxes_to_mosaic, pixel_regions, render_mosaic
from ..errors import ModelInputError
from .drawing import as_numpy, as_rgb, draw_boxes, draw_outline, legend_strip, palette
from .labels import font_scale, place_labels, put_text, text_height_px, text_size_wh

# Brightness of the parts outside the regions, which the second detector does not see.
_OUTSIDE = 0.45
_BOX_COLOR = palette(1)[0]
Boxes = ArrayLike | Tensor
_ZOOM_GREYS = {4.0: 255, 2.0: 180, 1.0: 120}  # 150 for other zooms


def draw_regions(image: np.ndarray, regions: Boxes, boxes: Boxes | None = None, *, legend: bool = True) -> np.ndarray:
    """The regions of unified foreground packing on their image, whose other parts are dimmed: (H + strip, W, 3) uint8 RGB.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: (R, 7) of :func:`mmdet.core.ufp.UnifiedForegroundPacking`: x, y, w, h, X, Y, zoom.
        boxes: (N, 4), from which the regions were made, drawn as thin yellow outlines; None draws none.
        legend: append a strip with the number of regions of each zoom.

    Raises:
        ModelInputError: ``image`` is not (H, W, 3) uint8, or ``regions`` not (R, 7).
    """
    rows = _rows(regions)
    rects = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)  # (R, 4)
    canvas = draw_boxes(image, [], [], legend=False)
    dim = (canvas * _OUTSIDE).astype(np.uint8)
    for x1, y1, x2, y2 in rects.astype(int):
        dim[y1:y2, x1:x2] = canvas[y1:y2, x1:x2]
    if boxes is not None:
        thin = np.asarray(as_numpy(boxes)).reshape(-1, 4)
        labels = np.zeros(len(thin), int)
        dim = draw_boxes(dim, thin, labels, colors=[_BOX_COLOR], line_width=1, show_labels=False, legend=False)
    return _draw_rects(dim, rects, rows[:, 6], inside=False, legend=legend)


def draw_mosaic(
    mosaic: np.ndarray | Tensor, regions: Boxes, boxes: Boxes | None = None, labels: Boxes | None = None,
    classes: Sequence[str] | None = None, *, legend: bool = True,
) -> np.ndarray:  # fmt: skip
    """The mosaic with the outlines of its tiles and the boxes found on it, (H + strips, W, 3) uint8 RGB.

    Args:
        mosaic: (H, W, 3) uint8 RGB, or a tensor (3, H, W) BGR in [0, 255] as ``UFPMPDet`` makes it.
        regions: (R, 7), as in :func:`draw_regions`.
        boxes: (N, 4) in pixels of the mosaic; None draws none.
        labels: (N,) class indices.
        classes: class names.
        legend: append strips with the number of boxes of each class and of regions of each zoom.

    Raises:
        ModelInputError: the mosaic is empty or has another shape or type, or ``regions`` is not (R, 7).
    """
    rows = _rows(regions)
    corners = rows[:, 4:6]
    tiles = np.concatenate([corners, corners + np.floor(rows[:, 2:4] * rows[:, 6:])], axis=1)  # (R, 4)
    canvas = draw_boxes(_rgb(mosaic), [], [], legend=False)
    strips = []
    if boxes is not None:
        height = canvas.shape[0]
        drawn = draw_boxes(canvas, as_numpy(boxes), as_numpy(labels), None, classes, show_labels=False, legend=legend)
        canvas, strips = drawn[:height].copy(), [drawn[height:]]
    drawn = _draw_rects(canvas, tiles, rows[:, 6], inside=True, legend=legend)
    return np.vstack([drawn, *strips])


def draw_ufp_steps(
    image: np.ndarray, steps: Mapping, classes: Sequence[str] | None = None, *, score_thr: float = 0.3
) -> dict[str, np.ndarray]:
    """Three pictures that show how ``UFPMPDet`` treats one image.

    Args:
        image: (H, W, 3) uint8 RGB.
        steps: the result of ``UFPMPDet.predict_with_mosaic`` or :func:`ufp_steps_of_boxes` for it.
        classes: class names.
        score_thr: boxes with a score above this are drawn. The regions come from all coarse boxes, also those with lower scores.

    Returns:
        The pictures ``regions`` (coarse boxes and regions), ``mosaic`` (tiles and boxes on them; the plain image where nothing was found)
        and ``merged`` (the boxes of the result), uint8 RGB.
    """
    pictures = dict(regions=draw_regions(image, steps['regions'], _above(steps['coarse'], score_thr).bboxes))
    if min(steps['mosaic'].shape[1:]) and steps['fine'] is not None:
        fine = _above(steps['fine'], score_thr)
        pictures['mosaic'] = draw_mosaic(steps['mosaic'], steps['regions'], fine.bboxes, fine.labels, classes)
    else:
        pictures['mosaic'] = np.array(image)
    merged = _above(steps['merged'], score_thr)
    boxes, labels, scores = (as_numpy(merged.get(field)) for field in ('bboxes', 'labels', 'scores'))
    pictures['merged'] = draw_boxes(image, boxes, labels, scores, classes)
    return pictures


def ufp_steps_of_boxes(image: np.ndarray, boxes: Boxes, labels: Boxes, **ufp: Any) -> dict[str, Any]:
    """The steps of cluster-and-pack detection for known boxes, which take the place of both detectors.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4), such as ground truth.
        labels: (N,).
        **ufp: options of :func:`mmdet.core.ufp.UnifiedForegroundPacking`.

    Returns:
        ``coarse``, ``regions``, ``mosaic``, ``fine`` and ``merged`` as ``UFPMPDet.predict_with_mosaic`` returns them, without scores; a box
        that lies in several regions occurs once for each.
    """
    xyxy = torch.as_tensor(as_numpy(boxes), dtype=torch.float64).reshape(-1, 4)
    classes = torch.as_tensor(as_numpy(labels), dtype=torch.int64).reshape(-1)
    order = torch.argsort(classes, stable=True)  # class after class, as a detector's boxes are packed
    xyxy, classes = xyxy[order], classes[order]
    regions, mosaic_w, mosaic_h = UnifiedForegroundPacking(xyxy, input_shape=(image.shape[1], image.shape[0]), **ufp)
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)
    on_mosaic, source, _ = boxes_to_mosaic(xyxy, regions)
    back, index, _ = boxes_to_image(on_mosaic, regions)
    return dict(
        coarse=InstanceData(bboxes=xyxy, labels=classes),
        regions=regions,
        mosaic=render_mosaic(bgr, regions, mosaic_w, mosaic_h),
        fine=InstanceData(bboxes=on_mosaic, labels=classes[source]),
        merged=InstanceData(bboxes=back, labels=classes[source[index]]),
    )


def _draw_rects(canvas: np.ndarray, rects: np.ndarray, zooms: np.ndarray, *, inside: bool, legend: bool) -> np.ndarray:
    """Outlines, numbers and legend of regions (R, 4) xyxy; ``inside`` draws the lines inside, for tiles that touch each other."""
    height, width = canvas.shape[:2]
    greys = {zoom: _ZOOM_GREYS.get(zoom, 150) for zoom in sorted({*zooms.tolist()}, reverse=True)}
    colors = {zoom: as_rgb([grey] * 3) for zoom, grey in greys.items()}
    line = max(1, round((height * width) ** 0.5 / 500))
    for rect, zoom in zip(rects, zooms):
        draw_outline(canvas, rect, colors[float(zoom)], range(0, -line, -1) if inside else range(1, line + 1))
    text_px = text_height_px(height, width)
    scale, pad = font_scale(text_px), max(1, text_px // 4)
    texts = [str(number) for number in range(1, len(rects) + 1)]
    sizes = [(text_size_wh(text, scale)[0] + 2 * pad, text_px + 2 * pad) for text in texts]
    places = (
        [(0, int(x), int(y)) if min(x2 - x - w, y2 - y - h) >= 0 else None for (x, y, x2, y2), (w, h) in zip(rects, sizes)]
        if inside
        else place_labels(rects, [[size] for size in sizes], image_wh=(width, height))
    )  # fmt: skip
    for text, (w, h), place, zoom in zip(texts, sizes, places, zooms):
        if place is None:
            continue
        _, left, top = place
        cv2.rectangle(canvas, (left, top), (left + w - 1, top + h - 1), colors[float(zoom)], cv2.FILLED)
        put_text(canvas, text, (left + pad, top + pad + text_px), scale, (0, 0, 0))
    if not legend or not len(rects):
        return canvas
    entries = [(f'zoom {zoom:g}:', int((zooms == zoom).sum()), color) for zoom, color in colors.items()]
    return np.vstack([canvas, legend_strip(width, entries, text_px=text_px, noun='region')])


def _rows(regions: Boxes) -> np.ndarray:
    rows = np.asarray(as_numpy(regions), dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 7:
        raise ModelInputError('the shape must be (number, 7)', field='regions', received=rows.shape)
    return pixel_regions(rows)


def _rgb(mosaic: np.ndarray | Tensor) -> np.ndarray:
    if not isinstance(mosaic, Tensor):
        return mosaic
    if mosaic.dim() != 3 or mosaic.size(0) != 3:
        raise ModelInputError('must be (3, H, W)', field='mosaic', received=tuple(mosaic.shape))
    return mosaic.flip(0).permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _above(instances: InstanceData, score_thr: float) -> InstanceData:
    return instances[instances.scores > score_thr] if 'scores' in instances else instances
