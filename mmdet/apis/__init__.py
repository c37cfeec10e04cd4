from .det_inferencer import DetInferencer
from .inference import inference_detector, init_detector
from .report import read_scalars, write_report

__all__ = ['DetInferencer', 'inference_detector', 'init_detector', 'read_scalars', 'write_report']
