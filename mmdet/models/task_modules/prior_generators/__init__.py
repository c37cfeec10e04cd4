from mmdet.core.priors import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    MlvlPointGenerator,
    PointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
    anchor_inside_flags,
    calc_region,
)

__all__ = [
    'AnchorGenerator', 'LegacyAnchorGenerator', 'MlvlPointGenerator', 'PointGenerator', 'SSDAnchorGenerator', 'YOLOAnchorGenerator',
    'anchor_inside_flags', 'calc_region',
]  # fmt: skip
