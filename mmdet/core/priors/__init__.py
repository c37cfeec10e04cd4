from .anchor_generator import AnchorGenerator, LegacyAnchorGenerator, SSDAnchorGenerator, YOLOAnchorGenerator
from .grid import rectangle_cells
from .inside import anchor_inside_flags, calc_region
from .point_generator import MlvlPointGenerator, PointGenerator

__all__ = [
    'AnchorGenerator', 'LegacyAnchorGenerator', 'MlvlPointGenerator', 'PointGenerator', 'SSDAnchorGenerator', 'YOLOAnchorGenerator',
    'anchor_inside_flags', 'calc_region', 'rectangle_cells',
]  # fmt: skip
