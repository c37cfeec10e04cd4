from ..engine.checkpoint.converting import join_checkpoints
from ..visualization.report import read_scalars, write_report
from .building import init_detector
from .det_inferencer import DetInferencer
from .evaluate_composite import EvaluationReport, evaluate_composite
from .inference import inference_detector
from .ufpmp import build_sliced, build_stage, build_ufpmp

__all__ = [
    'DetInferencer', 'EvaluationReport', 'build_sliced', 'build_stage', 'build_ufpmp', 'evaluate_composite', 'inference_detector', 'init_detector',
    'join_checkpoints', 'read_scalars', 'write_report',
]  # fmt: skip
