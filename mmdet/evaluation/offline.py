"""Evaluation of predictions that were saved before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger

from ..errors import ConfigError
from ..formats.predictions import read_results
from ..registry import DATASETS
from ..utils.outputs import refuse_inputs
from .coco_metric import CocoMetric
from .predictions import are_coco_rows, detections_of_results


def evaluate_results(
    results: str | Path | Sequence[dict], ann_file: str, classes: Sequence[str] | None = None, **metric_args: Any
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
    from_file = isinstance(results, str | Path)
    source = str(results) if from_file else 'results'
    content: Any = read_results(source) if from_file else results
    metric = CocoMetric(ann_file=ann_file, **metric_args)
    if from_file and metric.outfile_prefix is not None:
        refuse_inputs([f'{metric.outfile_prefix}.bbox.json'], [source], field='outfile_prefix')
    if classes is not None:
        metric.dataset_meta = dict(classes=tuple(classes))
    if are_coco_rows(content, source):
        annotations = metric.load_annotations()
        detections, left_out = detections_of_results(content, annotations, source)
        if left_out:
            MMLogger.get_current_instance().info(
                f'{source}: {left_out} results of categories that are not evaluated left out'
            )
        values = metric.evaluate_detections(detections, annotations)
    else:
        metric.dataset_meta = dict(classes=metric.load_annotations().classes)
        metric.process(None, content)
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
