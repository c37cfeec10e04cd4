"""Evaluation of saved predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..config.stages import inner_test_dataset
from ..errors import ConfigError, DataError, MMDetError
from ..formats.predictions import read_results
from ..registry import DATASETS, METRICS
from ..utils.class_names import all_names, class_names
from ..utils.outputs import refuse_inputs
from .coco_metric import CocoMetric
from .dump_results import DumpDetResults
from .predictions import PART, are_coco_rows, detections_of_results, results_by_name


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
    content, source = _read(results)
    metric = CocoMetric(ann_file=ann_file, **metric_args)
    metric.dataset_meta = dict(classes=metric.load_annotations().classes if classes is None else tuple(classes))
    return _evaluate(metric, content, source)


def evaluate_by_config(
    results: str | Path | Sequence[dict], config: Config, classes: Sequence[str] | None = None, **metric_args: Any
) -> dict:
    """Evaluate saved predictions with every metric of a config's ``test_evaluator``; the numbers are those of the run that saved them.

    Args:
        results: as in :func:`evaluate_results`. COCO result rows are for :class:`CocoMetric` and its subclasses; other metrics need data samples.
        config: a config with ``test_evaluator`` (or ``val_evaluator``); the meta information is that of its test dataset.
        classes: class names in the order of the labels; None means those of the dataset.
        **metric_args: arguments that override those of ``CocoMetric`` and its subclasses.

    Returns:
        the values of all metrics by name.

    Raises:
        ConfigError: the config has no metric, or two whose results have one name.
        DataError: a file is broken, the predictions do not belong to it, or a metric needs more than was saved, such as the ground truth where it
            has no ``ann_file``.
    """
    content, source = _read(results)
    values: dict = {}
    evaluated = False
    for prefix, evaluator, meta, part in _evaluators(config):
        kind = METRICS.get(evaluator['type']) if isinstance(evaluator.get('type'), str) else evaluator.get('type')
        if isinstance(kind, type) and issubclass(kind, DumpDetResults):
            continue  # it writes what is read here
        coco = isinstance(kind, type) and issubclass(kind, CocoMetric)
        metric = METRICS.build({**evaluator, **(metric_args if coco else {})})
        if classes is not None:
            meta = {**meta, 'classes': tuple(classes)}
        if coco and not meta and metric.ann_file is not None:
            metric.dataset_meta = dict(classes=metric.load_annotations().classes)
        else:
            metric.dataset_meta = meta
        own = content
        if part is not None:
            own = [sample for sample in content if sample.get(PART) == part]
            if not own:
                message = 'has no predictions for this data set; it needs a .pkl of tools/test.py --out'
                raise DataError(message, file=source, record=prefix)
        found = {f'{prefix}{name}': value for name, value in _evaluate(metric, own, source).items()}
        if found.keys() & values.keys():
            message = 'two metrics give results of one name; set another prefix for one of them'
            raise ConfigError(
                message, file=config.filename, field='test_evaluator', received=min(found.keys() & values.keys())
            )
        values.update(found)
        evaluated = True
    if not evaluated:
        raise ConfigError('has no metric', file=config.filename, field='test_evaluator')
    return values


def _read(results: str | Path | Sequence[dict]) -> tuple[Any, str]:
    """The content of saved predictions, and what messages call them."""
    return (read_results(results), str(results)) if isinstance(results, str | Path) else (results, 'results')


def _evaluate(metric: BaseMetric, content: Any, source: str) -> dict:
    if isinstance(metric, CocoMetric) and metric.outfile_prefix is not None:
        refuse_inputs([f'{metric.outfile_prefix}.bbox.json'], [source], field='outfile_prefix')
    if are_coco_rows(content, source):
        if not isinstance(metric, CocoMetric) or metric.ann_file is None:
            message = f'COCO result rows are for metrics with a COCO ann_file; {type(metric).__name__} needs a .pkl of tools/test.py --out'
            raise DataError(message, file=source)
        annotations = metric.load_annotations()
        detections, left_out = detections_of_results(content, annotations, source)
        if left_out:
            logger = MMLogger.get_current_instance()
            logger.info(f'{source}: left out {left_out} results, whose categories are not evaluated')
        return metric.named(metric.evaluate_detections(detections, annotations))
    wanted = class_names(metric.dataset_meta)
    if wanted is not None:
        content, notes, _ = results_by_name(content, wanted, source)
        for note in notes:
            MMLogger.get_current_instance().warning(note)
    try:
        metric.process(None, content)
        return metric.evaluate(len(content))
    except MMDetError:
        raise
    except (KeyError, TypeError, AttributeError) as error:  # of a metric that reads what was not saved
        message = f'{type(metric).__name__} needs more than the saved predictions ({type(error).__name__}: {error})'
        raise DataError(message, file=source) from error


def metric_args_of_config(config: Config) -> dict:
    """Arguments for :func:`evaluate_results` from a config: those of the CocoMetric in ``test_evaluator``, and the class
    names.

    Raises:
        ConfigError: the config has no CocoMetric with an ``ann_file``.
    """
    for _, evaluator, meta, _ in _evaluators(config):
        if evaluator.get('type') in ('CocoMetric', 'mmdet.CocoMetric', CocoMetric) and evaluator.get('ann_file'):
            classes = dict(classes=meta.get('classes')) if meta else {}
            return {key: value for key, value in evaluator.items() if key != 'type'} | classes
    raise ConfigError('has no CocoMetric with an ann_file', file=config.filename, field='test_evaluator')


def _evaluators(config: Config) -> list[tuple[str, dict, dict, int | None]]:
    """The metrics of a config: prefix of the results, config, meta information of the data set, and its number in a concatenation or None."""
    evaluators = config.get('test_evaluator') or config.get('val_evaluator') or []
    if isinstance(evaluators, dict) and 'metrics' in evaluators:
        prefixes = evaluators.get('dataset_prefixes')
        if prefixes is None:
            evaluators = evaluators['metrics']
        else:
            metas = [
                _meta_of(part)
                for part in ((config.get('test_dataloader') or {}).get('dataset') or {}).get('datasets', [])
            ]
            groups = [each if isinstance(each, list | tuple) else [each] for each in evaluators['metrics']]
            if not len(groups) == len(prefixes) == len(metas):
                message = (
                    f'must be as many as the metrics, {len(groups)}, and the data sets of test_dataloader, {len(metas)}'
                )
                raise ConfigError(
                    message, file=config.filename, field='test_evaluator.dataset_prefixes', received=list(prefixes)
                )
            rows = enumerate(zip(prefixes, groups, metas))
            return [(f'{prefix}/', each, meta, part) for part, (prefix, group, meta) in rows for each in group]
    meta = _dataset_meta(config) or {}
    return [('', each, meta, None) for each in ([evaluators] if isinstance(evaluators, dict) else evaluators)]


def _dataset_meta(config: Config) -> dict | None:
    """Meta information of the test dataset, with the classes of all parts of a concatenation; None where the config has no dataset."""
    dataset = inner_test_dataset(config, 'datasets')
    metas = [_meta_of(part) for part in dataset.get('datasets') or [dataset] if part]
    lists = [class_names(meta) or () for meta in metas]
    return {**metas[0], 'classes': all_names(lists)} if len(set(lists)) > 1 else next(iter(metas), None)


def _meta_of(dataset: dict) -> dict:
    return dict(DATASETS.build({**dataset, 'lazy_init': True}).metainfo)
