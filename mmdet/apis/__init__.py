from .det_inferencer import DetInferencer
from .evaluate_ufpmp import EvaluationReport, evaluate_composite
from .inference import inference_detector, init_detector
from .report import read_scalars, write_report
from .ufpmp import build_sliced, build_stage, build_ufpmp, join_checkpoints

__all__ = [
    'DetInferencer', 'EvaluationReport', 'build_sliced', 'build_stage', 'build_ufpmp', 'evaluate_composite', 'inference_detector', 'init_detector',
    'join_checkpoints', 'read_scalars', 'write_report',
]  # fmt: skip
