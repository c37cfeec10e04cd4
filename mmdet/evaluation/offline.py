"""Evaluation of predictions that were saved before."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger

from ..errors import ConfigError, DataError
from ..formats.coco import detections_from_rows
from ..formats.predictions import read_results
from ..registry import DATASETS
from .coco_metric import CocoMetric


def evaluate_results(
    results: str | Path | Sequence[dict], ann_file: str, classes: Sequence[str] | None = None, **metric_args
) -> dict:
    """Evaluate saved predictions with :class:`CocoMetric`; the numbers are those of the run that saved them.

    Args:
        results: what :class:`DumpDetResults` or ``CocoMetric(outfile_prefix=...)`` wrote, as a path (``.pkl`` or
            ``.json``) or as its content: data samples, or COCO result rows.
        ann_file: COCO annotation file.
        classes: class names in the order of the labels; None means all categories in the file's order.
        **metric_args: further arguments of ``CocoMetric``.

    Returns:
        ``coco/bbox_mAP`` and so on.

    Raises:
        DataError: a file is broken, or the predictions do not belong to it.
    """
    source = 'results'
    if isinstance(results, str | Path):
        source, results = str(results), read_results(results)
    metric = CocoMetric(ann_file=ann_file, **metric_args)
    if classes is not None:
        metric.dataset_meta = dict(classes=tuple(classes))
    if not isinstance(results, Sequence) or not all(isinstance(row, dict) for row in results):
        raise DataError('must be a list of dicts', file=source)
    if not results or 'image_id' in results[0]:
        annotations = metric.load_annotations()
        detections, left_out = detections_from_rows(list(results), annotations, source)
        if left_out:
            MMLogger.get_current_instance().info(
                f'{source}: {left_out} results of categories that are not evaluated left out'
            )
        values = metric.evaluate_detections(detections, annotations)
    else:
        metric.dataset_meta = dict(classes=metric.load_annotations().classes)
        metric.process(None, results)
        values = metric.compute_metrics(metric.results)
    return {f'{metric.prefix}/{name}': value for name, value in values.items()}


def metric_args_of_config(config: Config) -> dict:
    """Arguments for :func:`evaluate_results` out of a config file: those of the CocoMetric in ``test_evaluator``, and
    the class names.

    Raises:
        ConfigError: the config has no CocoMetric with an ``ann_file``.
    """
    evaluators = config.get('test_evaluator') or config.get('val_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    for evaluator in evaluators:
        if evaluator.get('type') in ('CocoMetric', 'mmdet.CocoMetric', CocoMetric) and evaluator.get('ann_file'):
            break
    else:
        raise ConfigError('has no CocoMetric with an ann_file', file=config.filename, field='test_evaluator')
    arguments = {key: value for key, value in evaluator.items() if key != 'type'}
    dataset = (config.get('test_dataloader') or {}).get('dataset')
    if dataset is not None:
        # lazy_init: the class names are wanted, not the annotations
        arguments['classes'] = DATASETS.build({**dataset, 'lazy_init': True}).metainfo.get('classes')
    return arguments
