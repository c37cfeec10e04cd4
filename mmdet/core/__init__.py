"""Detection maths without learned parameters.

The packages are imported when one of the names below is first used: ``mmdet.core.ufp`` alone needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assigners import (
        AssignResult,
        ATSSAssigner,
        BaseAssigner,
        DynamicSoftLabelAssigner,
        GridAssigner,
        HungarianAssigner,
        MaxIoUAssigner,
        PointAssigner,
        SimOTAAssigner,
        TaskAlignedAssigner,
    )
    from .boxes import (
        BaseBBoxCoder,
        BboxOverlaps2D,
        DeltaXYWHBBoxCoder,
        DistancePointBBoxCoder,
        TBLRBBoxCoder,
        YOLOBBoxCoder,
        bbox2distance,
        bbox_overlaps,
        distance2bbox,
    )
    from .post_processing import filter_scores_and_topk, merge_augmented, multiclass_nms
    from .priors import (
        AnchorGenerator,
        LegacyAnchorGenerator,
        MlvlPointGenerator,
        PointGenerator,
        SSDAnchorGenerator,
        YOLOAnchorGenerator,
    )
    from .samplers import (
        BaseSampler,
        CombinedSampler,
        InstanceBalancedPosSampler,
        IoUBalancedNegSampler,
        OHEMSampler,
        PseudoSampler,
        RandomSampler,
        SamplingResult,
    )

_PACKAGES = ('assigners', 'boxes', 'masks', 'post_processing', 'priors', 'samplers', 'ufp')


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f'{__name__}.{name}')
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    for package in _PACKAGES:
        module = importlib.import_module(f'{__name__}.{package}')
        globals().update({known: getattr(module, known) for known in __all__ if known in module.__all__})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})


__all__ = [
    'ATSSAssigner', 'AnchorGenerator', 'AssignResult', 'BaseAssigner', 'BaseBBoxCoder', 'BaseSampler', 'BboxOverlaps2D', 'DeltaXYWHBBoxCoder',
    'DistancePointBBoxCoder', 'DynamicSoftLabelAssigner', 'HungarianAssigner', 'LegacyAnchorGenerator', 'MaxIoUAssigner',
    'MlvlPointGenerator', 'PointAssigner', 'PointGenerator', 'PseudoSampler', 'RandomSampler', 'SSDAnchorGenerator', 'SamplingResult', 'SimOTAAssigner',
    'TBLRBBoxCoder', 'TaskAlignedAssigner', 'YOLOAnchorGenerator', 'bbox2distance', 'bbox_overlaps', 'distance2bbox',
    'filter_scores_and_topk', 'merge_augmented', 'multiclass_nms',
    'CombinedSampler', 'IoUBalancedNegSampler', 'InstanceBalancedPosSampler', 'OHEMSampler',
    'GridAssigner', 'YOLOBBoxCoder',
]  # fmt: skip
