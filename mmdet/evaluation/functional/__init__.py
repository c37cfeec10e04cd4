"""Functions of the evaluation under the import path of mmdetection 3.x; they work on arrays."""

from .bbox_overlaps import bbox_overlaps
from .class_names import cityscapes_classes, coco_classes, dataset_aliases, get_classes, voc_classes
from .mean_ap import average_precision, eval_map, print_map_summary
from .panoptic_utils import INSTANCE_OFFSET, PQStat, PQStatCat, pq_compute_multi_core, pq_compute_single_core
from .recall import eval_recalls, print_recall_summary

__all__ = [
    'INSTANCE_OFFSET', 'PQStat', 'PQStatCat', 'average_precision', 'bbox_overlaps', 'cityscapes_classes', 'coco_classes', 'dataset_aliases', 'eval_map', 'eval_recalls', 'get_classes',
    'pq_compute_multi_core', 'pq_compute_single_core', 'print_map_summary', 'print_recall_summary', 'voc_classes',
]  # fmt: skip
