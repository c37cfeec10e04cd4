"""The public functions and classes. Each module is imported when one of its names is first used, so that no tool pays for the others."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..visualization.report import read_scalars, write_report
    from .building import init_detector
    from .composite_evaluation import EvaluationReport, evaluate_composite
    from .det_inferencer import DetInferencer
    from .inference import async_inference_detector, inference_detector
    from .ufpmp import build_sliced, build_stage, build_ufpmp, join_checkpoints

_HOMES = {
    'DetInferencer': 'mmdet.apis.det_inferencer',
    'EvaluationReport': 'mmdet.apis.composite_evaluation',
    'async_inference_detector': 'mmdet.apis.inference',
    'build_sliced': 'mmdet.apis.ufpmp',
    'build_stage': 'mmdet.apis.ufpmp',
    'build_ufpmp': 'mmdet.apis.ufpmp',
    'evaluate_composite': 'mmdet.apis.composite_evaluation',
    'inference_detector': 'mmdet.apis.inference',
    'init_detector': 'mmdet.apis.building',
    'join_checkpoints': 'mmdet.engine.checkpoint.converting',
    'read_scalars': 'mmdet.visualization.report',
    'write_report': 'mmdet.visualization.report',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [
    'DetInferencer', 'EvaluationReport', 'async_inference_detector', 'build_sliced', 'build_stage', 'build_ufpmp', 'evaluate_composite', 'inference_detector', 'init_detector',
    'join_checkpoints', 'read_scalars', 'write_report',
]  # fmt: skip
