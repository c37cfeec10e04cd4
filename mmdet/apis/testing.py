"""Testing: the options of ``tools/test.py`` written into a config, and the run itself."""

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger

from mmdet.config.reading import require_keys, type_name
from mmdet.config.stages import forbid_network
from mmdet.engine import DetRunner
from mmdet.engine.checkpoint.loading import unwrap
from mmdet.engine.hooks import CostHook
from mmdet.errors import ConfigError
from mmdet.evaluation import CocoMetric, Evaluator
from mmdet.formats.coco import file_list
from mmdet.models.inference import InferenceOptions
from mmdet.registry import EVALUATOR, MODELS
from mmdet.utils.outputs import refuse_closed_folder, refuse_inputs

from .backends import prepare_for, read_backend
from .building import load_weights, parts_without_weights

# A flip test that merges detections as mmdetection 3.x does, those of end-to-end detectors by their own settings; a config's own tta_model and
# tta_pipeline take precedence.
DEFAULT_TTA_MODEL = dict(type='DetTTAModel')

# In the place of a checkpoint: the weights that the config names by from_pretrained.
PUBLISHED = 'published'

# The metrics that the options --eval, --eval-options and --format-only apply to.
_COCO_METRICS = ('CocoMetric', 'VisDroneMetric')


def default_tta_pipeline(test_pipeline: list[dict]) -> list[dict]:
    """A flip test from a plain test pipeline: the image is loaded once; each view is resized, flipped or not, and packed.

    Raises:
        ConfigError: the pipeline does not resize and pack.
    """
    kinds = [type_name(step) for step in test_pipeline]
    try:
        resize, pack = kinds.index('Resize'), kinds.index('PackDetInputs')
    except ValueError:
        message = '--tta needs Resize and PackDetInputs here, or a tta_pipeline in the config; the stages of UFPMPDet have flip and scale'
        raise ConfigError(message, field='test_pipeline', received=kinds) from None
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    views = [[test_pipeline[resize]], [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]]
    views += [[step] for step in test_pipeline[resize + 1 : pack] if type_name(step) != 'LoadAnnotations']
    if 'LoadAnnotations' in kinds:
        views.append([dict(type='LoadAnnotations', with_bbox=True)])
    views.append([ConfigDict(test_pipeline[pack], meta_keys=keys)])
    return [*test_pipeline[:resize], dict(type='TestTimeAug', transforms=views)]


def configure_testing(
    cfg: Config,
    *,
    checkpoint: str,
    work_dir: str,
    launcher: str = 'none',
    metrics: list[str] | None = None,
    out: str | None = None,
    format_only: bool = False,
    show: bool = False,
    show_dir: str | None = None,
    show_score_thr: float = 0.3,
    wait_time: float = 2,
    tta: bool = False,
    eval_options: dict | None = None,
    trust_checkpoint: bool = False,
) -> Config:
    """Write the options of ``tools/test.py`` into a config, in place; its ``--help`` describes them. ``metrics`` is ``--eval``.

    Raises:
        ConfigError: options that exclude each other, an unknown extension of ``out`` one that is an input or whose folder cannot be written to, or a config without evaluator.
    """
    if format_only and metrics:
        raise ConfigError('--eval and --format-only exclude each other')
    if out and Path(out).suffix not in ('.pkl', '.pickle', '.json'):
        raise ConfigError('must end in .pkl, .pickle or .json', field='--out', received=out)
    require_keys(cfg, ('model', 'test_dataloader', 'test_cfg', 'test_evaluator'), 'testing')
    cfg.work_dir, cfg.launcher, cfg.resume = work_dir, launcher, False
    cfg.load_from = None if checkpoint == PUBLISHED else checkpoint
    cfg.trust_checkpoint = trust_checkpoint or cfg.get('trust_checkpoint', False)
    forbid_network(cfg.model)
    # The checkpoint's state_dict already holds the averaged weights, and the hook's copy of the model would prevent fusing and wrapping.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if type_name(hook) != 'EMAHook']
    if not cfg.test_evaluator:
        raise ConfigError('the config has no test_evaluator', field='test_evaluator')
    single = not isinstance(cfg.test_evaluator, list | tuple)
    whole = cfg.test_evaluator if single and 'metrics' in cfg.test_evaluator else None  # an evaluator, and not a metric
    evaluators = [*metric_configs(cfg.test_evaluator)]
    if out:
        inputs = [
            os.path.join(each.get('data_root') or '', os.fspath(file))
            for each in _annotated(cfg.test_dataloader)
            for file in file_list(each.get('ann_file') or '')
        ]
        inputs += [os.fspath(file) for evaluator in evaluators for file in file_list(evaluator.get('ann_file') or '')]
        refuse_inputs([out], [cfg.filename, checkpoint, *inputs], field='--out')
        if Path(out).is_dir():
            raise ConfigError('is a folder', field='--out', received=out)
        refuse_closed_folder(out, field='--out')
    options = dict(eval_options or {})
    if 'jsonfile_prefix' in options:  # the name of mmdetection 2.x
        options['outfile_prefix'] = options.pop('jsonfile_prefix')
    several = whole is not None and 'dataset_prefixes' in whole
    for number, evaluator in enumerate(each for each in evaluators if type_name(each) in _COCO_METRICS):
        evaluator.update(options)
        if metrics:
            evaluator['metric'] = metrics
        if format_only:
            evaluator['format_only'] = True
            if evaluator.get('outfile_prefix') is None:
                evaluator['outfile_prefix'] = str(Path(work_dir) / 'results')
        if several and evaluator.get('outfile_prefix') and (format_only or 'outfile_prefix' in options):
            evaluator['outfile_prefix'] += f'_{number + 1}'  # a file for each data set
    if out:
        # A .json file needs the category ids of the annotation file.
        files = [evaluator['ann_file'] for evaluator in evaluators if evaluator.get('ann_file')]
        ann_file = files[0] if files and not several else None
        dump = dict(ann_file=ann_file) if ann_file and Path(out).suffix == '.json' else {}
        evaluators.append(ConfigDict(type='DumpDetResults', out_file_path=out, **dump))
    if whole is None:
        cfg.test_evaluator = evaluators
    elif out:  # beside the metrics of each data set
        key = 'whole' if 'dataset_prefixes' in whole else 'metrics'
        given = whole.get(key) or []
        whole[key] = [*(given if isinstance(given, list | tuple) else [given]), evaluators[-1]]
    if show or show_dir:
        hooks = cfg.setdefault('default_hooks', ConfigDict())
        hook = hooks.setdefault('visualization', ConfigDict(type='DetVisualizationHook'))
        hook.update(draw=True, score_thr=show_score_thr)
        if show:
            hook.update(show=True, wait_time=wait_time)
        if show_dir:
            hook.update(test_out_dir=show_dir)
    if tta:
        for dataset in _leaf_datasets(cfg.test_dataloader.dataset):
            dataset.pipeline = cfg.get('tta_pipeline') or default_tta_pipeline(dataset.pipeline)
    return cfg


def metric_configs(spec: Any) -> Iterator[ConfigDict]:
    """The configs of the metrics in an evaluator's, also inside an evaluator of several data sets."""
    if isinstance(spec, list | tuple):
        for part in spec:
            yield from metric_configs(part)
    elif 'metrics' in spec:
        yield from metric_configs(spec['metrics'])
    else:
        yield spec


class ScoredPass:
    """Computes the metrics of a config from the predictions of its test data, or of the first images of these; writes no file, and logs no table.

    Args:
        cfg: config with ``test_evaluator``; metrics of it that only write files are left out.
        dataset: the data set that the predictions are of.
        trained: names of the classes that the model was trained on; None where they are not known.
        most: largest number of images; objects of the others do not count as missed. None takes all.
    """

    def __init__(self, cfg: Config, dataset: Any, trained: Sequence[str] | None = None, most: int | None = None):
        spec = _without_files(cfg.test_evaluator)
        whole = isinstance(spec, dict) and 'metrics' in spec
        self._evaluator = EVALUATOR.build({'type': 'Evaluator', **spec}) if whole else Evaluator(spec or [])
        self._evaluator.dataset_meta = dataset.metainfo
        for metric in getattr(self._evaluator, 'metrics', ()):
            if isinstance(metric, CocoMetric):
                metric.only_predicted = True
        if hasattr(self._evaluator, 'match_classes'):  # not one of mmengine's own
            self._evaluator.bind(dataset)
            self._evaluator.match_classes(trained)
        self._size = self._left = len(dataset) if most is None else min(len(dataset), most)

    def __call__(self, batch: Any, predictions: Sequence) -> None:
        """Take the predictions of a batch; those of later passes are passed over."""
        if self._left > 0:
            self._evaluator.process(data_samples=predictions, data_batch=batch)
            self._left -= len(predictions)

    def metrics(self) -> dict[str, float]:
        """The metrics by name; empty where the pass was not completed."""
        if self._left > 0:
            return {}
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            found = self._evaluator.evaluate(self._size)
        finally:
            logger.setLevel(level)
        return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _without_files(spec: Any) -> Any:
    """The config of an evaluator, without what would write files; None for a metric that does nothing else."""
    if isinstance(spec, list | tuple):
        return [part for part in map(_without_files, spec) if part is not None]
    if not isinstance(spec, dict):
        return spec
    if 'metrics' in spec:
        return {**spec, **{key: _without_files(spec[key]) for key in ('metrics', 'whole') if key in spec}}
    if spec.get('format_only') or 'out_file_path' in spec:
        return None
    return {key: value for key, value in spec.items() if key != 'outfile_prefix'}


def _annotated(spec: Any) -> Iterator[dict]:
    """Every dict with an ``ann_file`` in a part of a config."""
    if isinstance(spec, dict):
        yield from [spec] if 'ann_file' in spec else []
        spec = list(spec.values())
    if isinstance(spec, list | tuple):
        for part in spec:
            yield from _annotated(part)


def _leaf_datasets(dataset: ConfigDict) -> list[ConfigDict]:
    """The datasets with a pipeline, also inside wrappers (``dataset``) and concatenations (``datasets``)."""
    if 'pipeline' in dataset:
        return [dataset]
    inner = dataset.get('datasets') or [dataset[key] for key in ('dataset',) if key in dataset]
    if not inner:
        raise ConfigError('has no pipeline', field='test_dataloader.dataset', received=dataset.get('type'))
    return [leaf for part in inner for leaf in _leaf_datasets(part)]


def run_testing(
    cfg: Config,
    *,
    fuse: bool = False,
    tta: bool = False,
    cost: bool = False,
    backend: str | None = None,
    precision: str | None = None,
) -> dict[str, float]:
    """Run the test that :func:`configure_testing` prepared, and return the metrics by name.

    ``fuse`` sets ``inference.fuse`` of the config; ``tta`` wraps the detector in the config's ``tta_model``; ``cost`` adds
    megapixels through the network and CPU seconds of an image to the metrics; ``backend`` and ``precision`` are those of
    :func:`~mmdet.apis.backends.use_backend`, None is torch.
    """
    if fuse:
        cfg.inference = dict(cfg.get('inference') or {}, fuse=True)
    spec, options = read_backend(backend, precision), InferenceOptions.read(cfg.get('inference'))
    if spec is not None:  # a mistake is told before anything is built
        options = spec.options(options)
        cfg.inference = dataclasses.asdict(options)  # of the hook that prepares the network for the test
    runner = DetRunner.from_cfg(cfg)
    if cost:
        runner.register_hook(CostHook())
    if cfg.get('load_from') is None:
        _load_published(runner, cfg)
    else:
        runner.load_or_resume(evaluating=True)
    if spec is not None and not spec.is_torch:
        prepare_for(unwrap(runner.model), spec)
    if tta:
        model_cfg = dict(cfg.get('tta_model') or DEFAULT_TTA_MODEL)
        runner.model = MODELS.build(dict(model_cfg, module=runner.model))
    return runner.test()


def _load_published(runner: DetRunner, cfg: Config) -> None:
    """Load the weights that the config of a detector of transformers, or of every stage, names; labels are those of its names, where it has such."""
    model: Any = unwrap(runner.model)
    random = parts_without_weights(model, cfg.model)
    if random:
        message = (
            f'the config names no published weights (from_pretrained) of {" and ".join(random)}: give a checkpoint'
        )
        raise ConfigError(message, file=cfg.filename, field='checkpoint', received=PUBLISHED)
    load_weights(model, None, cfg)
    runner.trained_classes = getattr(model, 'published_classes', None)
