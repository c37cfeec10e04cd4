"""Drawing detections, of :mod:`mmdet_runtime.drawing`."""

from mmdet_runtime.drawing import (
    RGB,
    as_numpy,
    as_rgb,
    draw_boxes,
    draw_outline,
    legend_strip,
    palette,
    picture_suffix,
    side_by_side,
    write_image,
)

__all__ = [
    'RGB', 'as_numpy', 'as_rgb', 'draw_boxes', 'draw_outline', 'legend_strip', 'palette', 'picture_suffix', 'side_by_side',
    'write_image',
]  # fmt: skip
