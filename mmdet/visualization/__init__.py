# First, because an import of the module would otherwise hide the function of the same name.
from .palette import get_palette, jitter_color, palette_val  # isort: skip

from .drawing import draw_boxes, legend_strip, palette, side_by_side, write_image
from .local_visualizer import DetLocalVisualizer
from .ufp import draw_mosaic, draw_regions, draw_ufp_steps, ufp_steps_of_boxes

__all__ = [
    'DetLocalVisualizer', 'draw_boxes', 'draw_mosaic', 'draw_regions', 'draw_ufp_steps', 'get_palette', 'jitter_color', 'legend_strip', 'palette', 'palette_val', 'side_by_side',
    'ufp_steps_of_boxes', 'write_image',
]  # fmt: skip
