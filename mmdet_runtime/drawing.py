"""Drawing detections on an image with OpenCV alone, so that crowded aerial pictures stay readable.

Three rules keep 500 boxes of 8-20 pixels readable: outlines run *outside* the box, so that the object itself stays visible; a label is
drawn only where it covers neither another label nor a noticeable part of another box (``place_labels``); the colour of a box shows its
class even without a label, and a legend strip below the picture names the colours and counts the boxes.

Images are RGB uint8 (H, W, 3) everywhere; boxes are xyxy in pixels, x2/y2 exclusive. Letters: N boxes, K classes, H x W pixels.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .errors import ModelInputError
from .images import write_image_file
from .labels import font_scale, place_labels, put_text, text_height_px, text_size_wh

RGB = tuple[int, int, int]

# Ten colours found by a search over a 25-step RGB grid (CIELAB lightness 52-95, chroma > 45): the smallest pairwise CIE76 distance is 22 for
# deuteranopes and protanopes (Machado et al. 2009, severity 1) and 46 for others; for the seven Okabe-Ito hues the former is 17.
# The brightest come first: in aerial data the first classes tend to be the smallest objects.
_BASE_PALETTE = (
    (225, 255, 0), (255, 50, 200), (100, 175, 255), (150, 255, 200), (125, 100, 255),
    (225, 100, 50), (225, 175, 25), (0, 255, 125), (255, 0, 100), (255, 150, 200),
)  # fmt: skip

_STRIP_BACKGROUND = (28, 28, 30)
_STRIP_TEXT = (235, 235, 235)
_IGNORED_COLOR = (170, 170, 170)
# Pictures with a shorter side below this have no legend and no panel titles, which would not be readable.
_MIN_SIDE_FOR_STRIPS = 128


def palette(num_colors: int) -> list[RGB]:
    """The first ``num_colors`` of a fixed list of distinct RGB colours; colour-blind readers can tell the first ten apart.

    Colours after the tenth walk the hue circle by the golden angle while cycling through three lightness and two saturation steps.

        >>> palette(2)
        [(225, 255, 0), (255, 50, 200)]
    """
    colors = dict.fromkeys(_BASE_PALETTE[:num_colors])  # an ordered set
    step = 0
    while len(colors) < num_colors:
        hue = (step * 137.508) % 360
        hls = np.array([[[hue, (0.62, 0.75, 0.5)[step % 3], (1.0, 0.6)[step // 3 % 2]]]], np.float32)
        rgb = cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)[0, 0]
        colors[as_rgb([round(255 * float(channel)) for channel in rgb])] = None
        step += 1
    return [*colors]


def as_rgb(color: Sequence[int]) -> RGB:
    """Three numbers as a tuple of Python integers, as OpenCV requires for colours."""
    red, green, blue = (int(channel) for channel in color)
    return red, green, blue


def draw_boxes(
    image: np.ndarray,
    boxes: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    *,
    colors: Sequence[Sequence[int]] | None = None,
    ignored: ArrayLike | None = None,
    line_width: float | None = None,
    text_color: Sequence[int] | None = None,
    alpha: float = 1.0,
    show_labels: bool = True,
    legend: bool | int = True,
    texts: Sequence[Sequence[str]] | None = None,
) -> np.ndarray:
    """Draw boxes on a copy of ``image``; returns the picture, (H + strip, W, 3) uint8 RGB, contiguous.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy in pixels; parts outside the image are cut.
        labels: (N,) class indices; a negative index counts as class 0.
        scores: (N,) in [0, 1], shown in the labels; None (ground truth) shows class names only.
        classes: K names; further classes are called 'class 7' and so on.
        colors: RGB per class; further classes, or all with None, take those of :func:`palette`.
        ignored: (M, 4) regions left out of the evaluation, drawn dashed in grey.
        line_width: in pixels; None scales it with the image and uses 1 for small boxes.
        text_color: RGB of label text; None takes black or white, whichever is more readable on the class colour.
        alpha: opacity of everything drawn, in (0, 1].
        show_labels: False draws outlines and legend only.
        legend: True appends a strip of class counts below images that have room for it; an integer appends exactly that many rows, so that
            the frames of a video agree in size; False appends none.
        texts: for each box what its label may say, the longest first; None says class and score. Boxes that are not finite are not drawn, and need
            a text all the same.

    Raises:
        ModelInputError: ``image`` is not (H, W, 3) uint8, or the lengths of boxes, labels and scores differ.
    """
    image = _checked_image(image)
    if texts is not None:
        texts = [own for own, box in zip(texts, np.asarray(boxes, np.float64).reshape(-1, 4)) if np.isfinite(box).all()]
    boxes, labels, scores = _checked_boxes(boxes, labels, scores)
    regions = np.zeros((0, 4)) if ignored is None else np.asarray(ignored, np.float64).reshape(-1, 4)
    height, width = image.shape[:2]
    num_classes = int(labels.max()) + 1 if len(labels) else 0
    rgb = [] if colors is None else [as_rgb(color) for color in colors]
    rgb += palette(num_classes)[len(rgb) :]
    names = [] if classes is None else [str(name) for name in classes]
    names += [f'class {label}' for label in range(len(names), num_classes)]

    canvas = image.copy()
    for box in regions:
        _draw_dashed(canvas, box, _IGNORED_COLOR, _line_width(box, height, width, line_width))
    sides_wh, rows = boxes[:, 2:] - boxes[:, :2], boxes.tolist()
    # Large boxes first: a small box inside a large one keeps its whole outline.
    for index in np.argsort(-sides_wh.prod(axis=1), kind='stable'):
        rings = range(1, _line_width(rows[index], height, width, line_width) + 1)
        draw_outline(canvas, rows[index], rgb[labels[index]], rings)
    if show_labels and len(boxes):
        _draw_labels(canvas, boxes, labels, texts or _label_texts(labels, scores, names), rgb, text_color)
    if alpha < 1:
        canvas = cv2.addWeighted(canvas, alpha, image, 1 - alpha, 0)

    has_room = min(height, width) >= _MIN_SIDE_FOR_STRIPS and len(boxes) + len(regions) > 0
    if legend is False or (legend is True and not has_room):
        return canvas
    counts = np.bincount(labels, minlength=num_classes)
    entries = [(names[k], int(counts[k]), rgb[k]) for k in range(num_classes) if counts[k]]
    if len(regions):
        entries.append(('ignored', len(regions), _IGNORED_COLOR))
    rows = None if legend is True else int(legend)
    return np.vstack([canvas, legend_strip(width, entries, text_px=text_height_px(height, width), rows=rows)])


def legend_strip(
    width: int,
    entries: Sequence[tuple[str, int, Sequence[int]]],
    *,
    text_px: int,
    rows: int | None = None,
    max_rows: int = 3,
    noun: str = 'object',
) -> np.ndarray:
    """A dark strip, (height, width, 3) uint8 RGB, with the total count and then ``(name, count, RGB colour)`` entries.

    Args:
        width: pixels.
        entries: listed in this order; those that do not fit are counted as '+3 more'.
        text_px: height of a capital letter.
        rows: exact number of text rows; None uses as many as needed, at most ``max_rows``.
        noun: what is counted, in the singular.
    """
    scale = font_scale(text_px)
    row_height = round(text_px * 2.1)
    gap = max(round(text_px * 1.2), 4)
    total = sum(count for _, count, _ in entries)
    texts = [f'{total} {noun}' + ('' if total == 1 else 's')] + [f'{name} {count}' for name, count, _ in entries]
    swatch = round(text_px * 1.1)
    widths = [text_size_wh(text, scale)[0] + (0 if k == 0 else swatch + gap // 3) for k, text in enumerate(texts)]
    limit = rows or max_rows
    reserve = text_size_wh(f'+{len(entries)} more', scale)[0] + gap

    placed, x, row = [], gap, 0
    for k, item_width in enumerate(widths):
        last = k == len(widths) - 1
        if x > gap and x + item_width + gap + (0 if last or row < limit - 1 else reserve) > width:
            if row == limit - 1:
                break
            x, row = gap, row + 1
        placed.append((x, row))
        x += item_width + gap

    strip = np.full(((rows or row + 1) * row_height, width, 3), _STRIP_BACKGROUND, np.uint8)
    for k, (left, line) in enumerate(placed):
        baseline = line * row_height + (row_height + text_px) // 2
        if k > 0:
            corner = (left + swatch - 1, baseline)
            cv2.rectangle(strip, (left, baseline - swatch + 1), corner, as_rgb(entries[k - 1][2]), cv2.FILLED)
            left += swatch + gap // 3
        put_text(strip, texts[k], (left, baseline), scale, _STRIP_TEXT)
    if len(placed) < len(texts):
        baseline = row * row_height + (row_height + text_px) // 2
        put_text(strip, f'+{len(texts) - len(placed)} more', (x, baseline), scale, _STRIP_TEXT)
    return strip


def side_by_side(
    left: np.ndarray, right: np.ndarray, titles: tuple[str, str] | None = ('ground truth', 'predictions')
) -> np.ndarray:
    """Two pictures of equal width beside each other, each under its title: (title + max(H1, H2), 2 * W + gap, 3) uint8 RGB.

    Small pictures have no titles and no gap.

    Args:
        left, right: (H1, W, 3) and (H2, W, 3) uint8 RGB; the shorter one is padded at the bottom.
        titles: text above each picture; None leaves them out.
    """
    panels = [_checked_image(left), _checked_image(right)]
    height = max(panel.shape[0] for panel in panels)
    roomy = min(min(panel.shape[:2]) for panel in panels) >= _MIN_SIDE_FOR_STRIPS
    text_px = text_height_px(*panels[0].shape[:2])
    top = round(text_px * 2.8) if roomy and titles is not None else 0
    columns = []
    for k, panel in enumerate(panels):
        column = np.full((top + height, panel.shape[1], 3), _STRIP_BACKGROUND, np.uint8)
        column[top : top + panel.shape[0]] = panel
        if top and titles is not None:
            put_text(column, titles[k], (text_px, round(text_px * 2.1)), font_scale(text_px * 1.5), _STRIP_TEXT)
        columns.append(column)
    if roomy:
        columns.insert(1, np.full((top + height, max(2, panels[0].shape[1] // 200), 3), 255, np.uint8))
    return np.hstack(columns)


def as_numpy(value: Any) -> Any:
    """A tensor as an array on the CPU; anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, 'detach') else value


def picture_suffix(source: str | Path) -> str:
    """The file name extension for a picture of an image: that of its source in lower case if it is a common one, else '.jpg'."""
    suffix = Path(source).suffix.lower()
    return suffix if suffix in ('.jpg', '.jpeg', '.png', '.bmp', '.webp') else '.jpg'


def write_image(path: str | Path, image: np.ndarray, *, jpeg_quality: int = 92) -> None:
    """Write an RGB picture and make its folder; the extension chooses the format. The file appears complete or not at all.

    Raises:
        ModelInputError: the extension is not one that OpenCV writes.
        DataError: the folder or file cannot be written.
    """
    image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    write_image_file(path, image, jpeg_quality, error=ModelInputError)


def _checked_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        message = 'image must be a non-empty uint8 array (H, W, 3)'
        raise ModelInputError(message, received=(image.shape, str(image.dtype)))
    return np.ascontiguousarray(image)


def _checked_boxes(
    boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The finite boxes (N, 4) float64 xyxy with their labels (N,) int64 and scores (N,) float64 or None."""
    xyxy = np.asarray(boxes, np.float64).reshape(-1, 4)
    indices = np.maximum(np.asarray(labels).reshape(-1).astype(np.int64), 0)
    values = None if scores is None else np.asarray(scores, np.float64).reshape(-1)
    lengths = (len(xyxy), len(indices), len(xyxy) if values is None else len(values))
    if len(set(lengths)) != 1:
        raise ModelInputError('boxes, labels and scores must be equally long', received=lengths)
    finite = np.isfinite(xyxy).all(axis=1)
    return xyxy[finite], indices[finite], None if values is None else values[finite]


def _line_width(box: np.ndarray, height: int, width: int, line_width: float | None) -> int:
    """Outline width in pixels: 1 up to about 1000 x 1000, 2 at 1920 x 1080, but 1 for boxes that are small compared with a wider line."""
    if line_width is not None:
        return max(1, round(line_width))
    full = max(1, round((height * width) ** 0.5 / 700))
    short_side = min(box[2] - box[0], box[3] - box[1])
    return full if short_side >= 12 * full else 1


def _outline_corners(box: np.ndarray, height: int, width: int, distance: int) -> tuple[int, int, int, int]:
    """Inclusive pixel corners of the ring ``distance`` pixels outside ``box``, clipped to the image."""
    # Not by NumPy, which takes ten times as long for four numbers.
    x1, y1, x2, y2 = (round(min(max(float(v), -1e6), 1e6)) for v in box)
    xs = (min(max(x1 - distance, 0), width - 1), min(max(x2 - 1 + distance, 0), width - 1))
    ys = (min(max(y1 - distance, 0), height - 1), min(max(y2 - 1 + distance, 0), height - 1))
    return xs[0], ys[0], max(xs), max(ys)


def draw_outline(canvas: np.ndarray, box: np.ndarray, color: RGB, distances: Iterable[int]) -> None:
    """Draw rings around an xyxy box, in place, each the given number of pixels outside it; 0 is the outermost ring inside."""
    height, width = canvas.shape[:2]
    for distance in distances:
        x1, y1, x2, y2 = _outline_corners(box, height, width, distance)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 1)


def _draw_dashed(canvas: np.ndarray, box: np.ndarray, color: RGB, line_width: int) -> None:
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = _outline_corners(box, height, width, 1)
    dash = max(4, round((height * width) ** 0.5 / 180))
    for x in range(x1, x2, 2 * dash):
        for y in (y1, y2):
            cv2.line(canvas, (x, y), (min(x + dash, x2), y), color, line_width)
    for y in range(y1, y2, 2 * dash):
        for x in (x1, x2):
            cv2.line(canvas, (x, y), (x, min(y + dash, y2)), color, line_width)


def _label_texts(labels: np.ndarray, scores: np.ndarray | None, names: Sequence[str]) -> list[list[str]]:
    if scores is None:
        return [[names[label]] for label in labels]
    return [[f'{names[k]} {score:.2f}', f'{score:.2f}'] for k, score in zip(labels, scores)]


def _draw_labels(
    canvas: np.ndarray, boxes: np.ndarray, labels: np.ndarray, options: Sequence[Sequence[str]],
    colors: Sequence[RGB], text_color: Sequence[int] | None,
) -> None:  # fmt: skip
    """Label as many boxes as fit: 'car 0.87' where there is room, '0.87' where there is little, nothing in a crowd."""
    height, width = canvas.shape[:2]
    text_px = text_height_px(height, width)
    scale = font_scale(text_px)
    pad = max(1, text_px // 5)
    cache = {text: text_size_wh(text, scale) for texts in options for text in texts}
    sizes_wh = [[(cache[text][0] + 2 * pad, text_px + 2 * pad + 1) for text in texts] for texts in options]
    for index, place in enumerate(place_labels(boxes, sizes_wh, image_wh=(width, height))):
        if place is None:
            continue
        option, left, top = place
        box_width, box_height = sizes_wh[index][option]
        color = colors[labels[index]]
        cv2.rectangle(canvas, (left, top), (left + box_width - 1, top + box_height - 1), color, cv2.FILLED)
        ink = _ink_on(color) if text_color is None else text_color
        put_text(canvas, options[index][option], (left + pad, top + pad + text_px), scale, ink)


def _ink_on(color: RGB) -> RGB:
    """Black or white, whichever stands out from an RGB colour (Rec. 601 luma)."""
    return (0, 0, 0) if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 110 else (255, 255, 255)
