from .coco_eval import COCO_AREA_RANGES, BoxTable, CocoResult, Detections, GroundTruth, evaluate_boxes
from .coco_files import CocoAnnotations, load_coco_annotations, read_results
from .coco_metric import CocoMetric, MissingOutputError, UnknownMetricError
from .dump_results import DumpDetResults
from .offline import evaluate_results, metric_args_of_config

__all__ = [
    'BoxTable', 'COCO_AREA_RANGES', 'CocoAnnotations', 'CocoMetric', 'CocoResult', 'Detections', 'DumpDetResults',
    'GroundTruth', 'MissingOutputError', 'UnknownMetricError', 'evaluate_boxes', 'evaluate_results',
    'load_coco_annotations', 'metric_args_of_config', 'read_results',
]  # fmt: skip
