"""Text on pictures, of :mod:`mmdet_runtime.labels`."""

from mmdet_runtime.labels import (
    font_scale,
    place_labels,
    put_text,
    text_height_px,
    text_size_wh,
)

__all__ = ['font_scale', 'place_labels', 'put_text', 'text_height_px', 'text_size_wh']
