"""From a config, a checkpoint and the command line's wishes to an evaluation."""

from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.model import is_model_wrapper

from mmdet.config.reading import require_keys
from mmdet.engine import DetRunner
from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .benchmark import fuse_backbones

# Flip test with the merge of mmdetection 3.x; a config's own tta_model and tta_pipeline win.
DEFAULT_TTA_MODEL = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))

# Which take the command line's --eval, --eval-options and --format-only.
_COCO_METRICS = ('CocoMetric', 'VisDroneMetric')


def _evaluators(cfg: Config) -> list[ConfigDict]:
    evaluator = cfg.get('test_evaluator')
    if not evaluator:
        raise ConfigError('the config has no test_evaluator', field='test_evaluator')
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]


def _is_type(cfg: dict, name: str) -> bool:
    kind = cfg.get('type') if isinstance(cfg, dict) else type(cfg)
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')).rpartition('.')[2] == name


def default_tta_pipeline(test_pipeline: list[dict]) -> list[dict]:
    """A flip test from a plain test pipeline: its loading, then every view resized, flipped or not, and packed."""
    kinds = [str(step['type']).rpartition('.')[2] for step in test_pipeline]
    try:
        resize, pack = kinds.index('Resize'), kinds.index('PackDetInputs')
    except ValueError:
        raise ConfigError(
            'needs Resize and PackDetInputs for --tta; or give a tta_pipeline', field='test_pipeline', received=kinds
        ) from None
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    middle = [step for step in test_pipeline[resize + 1 : pack] if step['type'] != 'LoadAnnotations']
    views = [[test_pipeline[resize]], [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]]
    views += [[step] for step in middle]
    annotations = [[dict(type='LoadAnnotations', with_bbox=True)]] if 'LoadAnnotations' in kinds else []
    packs = [[ConfigDict(test_pipeline[pack], meta_keys=keys)]]
    return [*test_pipeline[:resize], dict(type='TestTimeAug', transforms=views + annotations + packs)]


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
    """Write the options of ``tools/test.py`` into a config, in place.

    Args:
        cfg: of the run.
        checkpoint: the model's file, path or known name.
        work_dir: where logs and metrics go.
        launcher: how the processes were started.
        metrics: of the COCO metric: 'bbox', 'proposal', 'proposal_fast'.
        out: write the results there: ``.pkl`` or ``.json``.
        format_only: write results without evaluating them.
        show: open a window for every image.
        show_dir: write a picture of every image there.
        show_score_thr: least score of a drawn box.
        wait_time: seconds a window stays.
        tta: flip test, or the config's own ``tta_pipeline``.
        eval_options: arguments of the metric, e.g. ``classwise=True``.
        trust_checkpoint: allow unpickling arbitrary objects.

    Raises:
        ConfigError: options that exclude each other, an unknown suffix of ``out``, a config without evaluator.
    """
    if format_only and metrics:
        raise ConfigError('--eval and --format-only exclude each other')
    if out and Path(out).suffix not in ('.pkl', '.pickle', '.json'):
        raise ConfigError('must end in .pkl, .pickle or .json', field='--out', received=out)
    require_keys(cfg, ('model', 'test_dataloader', 'test_cfg', 'test_evaluator'), 'testing')
    cfg.work_dir, cfg.launcher, cfg.load_from, cfg.resume = work_dir, launcher, checkpoint, False
    cfg.trust_checkpoint = trust_checkpoint or cfg.get('trust_checkpoint', False)
    # The checkpoint's state_dict holds the averaged weights already; the hook's copy would only be in the way of fusing and wrapping.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if not _is_type(hook, 'EMAHook')]
    evaluators = _evaluators(cfg)
    options = dict(eval_options or {})
    if 'jsonfile_prefix' in options:  # its name up to mmdetection 2.x
        options['outfile_prefix'] = options.pop('jsonfile_prefix')
    for evaluator in evaluators:
        if not any(_is_type(evaluator, name) for name in _COCO_METRICS):
            continue
        evaluator.update(options)
        if metrics:
            evaluator['metric'] = metrics
        if format_only:
            evaluator['format_only'] = True
            evaluator.setdefault('outfile_prefix', str(Path(work_dir) / 'results'))
            if evaluator['outfile_prefix'] is None:
                evaluator['outfile_prefix'] = str(Path(work_dir) / 'results')
    if out:
        # The annotation file gives a .json its category ids.
        ann_file = next((evaluator['ann_file'] for evaluator in evaluators if evaluator.get('ann_file')), None)
        dump = dict(ann_file=ann_file) if ann_file and Path(out).suffix == '.json' else {}
        evaluators.append(ConfigDict(type='DumpDetResults', out_file_path=out, **dump))
    cfg.test_evaluator = evaluators
    if show or show_dir:
        _draw(cfg, show, show_dir, show_score_thr, wait_time)
    if tta:
        for dataset in _leaf_datasets(cfg.test_dataloader.dataset):
            dataset.pipeline = cfg.get('tta_pipeline') or default_tta_pipeline(dataset.pipeline)
    return cfg


def _leaf_datasets(dataset: ConfigDict) -> list[ConfigDict]:
    """The data sets with a pipeline inside wrappers (``dataset``) and concatenations (``datasets``)."""
    if 'pipeline' in dataset:
        return [dataset]
    inner = dataset.get('datasets') or [dataset[key] for key in ('dataset',) if key in dataset]
    if not inner:
        raise ConfigError('has no pipeline', field='test_dataloader.dataset', received=dataset.get('type'))
    return [leaf for part in inner for leaf in _leaf_datasets(part)]


def _draw(cfg, show, show_dir, score_thr, wait_time) -> None:
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('visualization', ConfigDict(type='DetVisualizationHook'))
    hook.update(draw=True, score_thr=score_thr)
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir:
        hook.update(test_out_dir=show_dir)


def run_testing(cfg: Config, *, fuse: bool = False, tta: bool = False) -> dict[str, float]:
    """Build the runner, load the checkpoint, evaluate.

    Args:
        cfg: from :func:`configure_testing`.
        fuse: fold the backbone's batch norms into its convolutions.
        tta: wrap the detector in the config's ``tta_model``.

    Returns:
        the metrics.
    """
    runner = DetRunner.from_cfg(cfg)
    runner.load_or_resume(evaluating=True)
    if fuse:
        fuse_backbones(runner.model.module if is_model_wrapper(runner.model) else runner.model)
    if tta:
        model_cfg = dict(cfg.get('tta_model') or DEFAULT_TTA_MODEL)
        runner.model = MODELS.build(dict(model_cfg, module=runner.model))
    return runner.test()
