from .drawing import draw_boxes, legend_strip, palette, side_by_side, write_image
from .local_visualizer import DetLocalVisualizer

__all__ = ['DetLocalVisualizer', 'draw_boxes', 'legend_strip', 'palette', 'side_by_side', 'write_image']
