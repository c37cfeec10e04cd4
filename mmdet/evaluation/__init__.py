from ..formats.coco import CocoAnnotations, load_coco_annotations
from ..formats.predictions import read_results
from ..formats.tables import BoxTable, Detections, GroundTruth, VisDroneTruth
from ..formats.visdrone import VisDroneInput, read_folders, read_image_sizes, read_toolkit_rows, write_result_files
from .coco_eval import COCO_AREA_RANGES, CocoResult, evaluate_boxes
from .coco_metric import CocoMetric, MissingOutputError, UnknownMetricError
from .coco_occluded_metric import CocoOccludedSeparatedMetric
from .dump_results import DumpDetResults
from .evaluator import Evaluator, MultiDatasetsEvaluator
from .functional import (
    INSTANCE_OFFSET,
    average_precision,
    bbox_overlaps,
    cityscapes_classes,
    coco_classes,
    dataset_aliases,
    eval_map,
    eval_recalls,
    get_classes,
    print_map_summary,
    print_recall_summary,
    voc_classes,
)
from .offline import evaluate_by_config, evaluate_results, metric_args_of_config
from .visdrone_eval import VisDroneResult, evaluate_visdrone
from .visdrone_metric import VisDroneMetric
from .voc_metric import VOCMetric

__all__ = [
    'INSTANCE_OFFSET', 'average_precision', 'bbox_overlaps', 'cityscapes_classes', 'coco_classes', 'dataset_aliases', 'eval_map', 'eval_recalls', 'get_classes',
    'print_map_summary', 'print_recall_summary', 'voc_classes',
    'BoxTable', 'COCO_AREA_RANGES', 'CocoAnnotations', 'CocoMetric', 'CocoOccludedSeparatedMetric', 'CocoResult', 'Detections', 'DumpDetResults', 'Evaluator',
    'GroundTruth', 'MissingOutputError', 'MultiDatasetsEvaluator', 'UnknownMetricError', 'VOCMetric', 'VisDroneInput', 'VisDroneMetric', 'VisDroneResult',
    'VisDroneTruth', 'evaluate_boxes', 'evaluate_by_config', 'evaluate_results', 'evaluate_visdrone', 'load_coco_annotations',
    'metric_args_of_config', 'read_folders', 'read_image_sizes', 'read_results', 'read_toolkit_rows', 'write_result_files',
]  # fmt: skip
