"""The options of tools/train.py and tools/test.py, written into a config."""

import pytest
from mmengine.config import Config

from mmdet.apis.testing import DEFAULT_TTA_MODEL, configure_testing, default_tta_pipeline
from mmdet.apis.training import configure_training
from mmdet.utils import ConfigError

LOAD, RESIZE = dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 32), keep_ratio=True)
LABELS, PAD, PACK = (
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Pad', size_divisor=8),
    dict(type='PackDetInputs'),
)
PIPELINE = [LOAD, RESIZE, LABELS, PAD, PACK]


def run_config(**more):
    base = dict(
        model=dict(type='X'),
        train_dataloader=dict(), train_cfg=dict(), optim_wrapper=dict(type='OptimWrapper'),
        val_cfg=dict(), val_dataloader=dict(), val_evaluator=dict(),
        test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=PIPELINE)), test_cfg=dict(),
        test_evaluator=dict(type='CocoMetric', ann_file='a.json'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='auto')),
    )  # fmt: skip
    return Config({**base, **more})


def configured(cfg=None, **options):
    return configure_testing(cfg or run_config(), checkpoint='x.pth', work_dir='work', **options)


def test_nothing_asked_for():
    cfg = configured(run_config(resume=True, trust_checkpoint=True))
    assert (cfg.work_dir, cfg.launcher, cfg.load_from, cfg.resume) == ('work', 'none', 'x.pth', False)
    assert cfg.test_evaluator == [dict(type='CocoMetric', ann_file='a.json')] and cfg.custom_hooks == []
    assert cfg.trust_checkpoint is True, 'the wish of the config stays'
    assert 'visualization' not in cfg.default_hooks
    assert configured().trust_checkpoint is False and configured(trust_checkpoint=True).trust_checkpoint is True


def test_only_the_averaging_hook_goes():
    hooks = [dict(type='mmengine.EMAHook', momentum=0.1), dict(type='NumClassCheckHook'), dict(type='EMAHook')]
    assert configured(run_config(custom_hooks=hooks)).custom_hooks == [dict(type='NumClassCheckHook')]


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(metrics=['proposal']), dict(metric=['proposal'])),
        (dict(eval_options=dict(classwise=True)), dict(classwise=True)),
        (dict(eval_options=dict(jsonfile_prefix='p')), dict(outfile_prefix='p')),
        (dict(format_only=True), dict(format_only=True, outfile_prefix='work/results')),
        (dict(format_only=True, eval_options=dict(outfile_prefix='p')), dict(format_only=True, outfile_prefix='p')),
    ],
)
def test_options_reach_the_coco_metrics_only(options, expected):
    other = dict(type='Other')
    for kind in ('CocoMetric', 'mmdet.VisDroneMetric'):
        cfg = configured(run_config(test_evaluator=[dict(type=kind, outfile_prefix=None), other]), **options)
        assert cfg.test_evaluator == [dict(dict(type=kind, outfile_prefix=None), **expected), other]


def test_results_go_to_a_file():
    assert configured(out='r.pkl').test_evaluator[1] == dict(type='DumpDetResults', out_file_path='r.pkl')
    # Only a .json file needs the category ids of the annotations.
    assert configured(out='r.json').test_evaluator[1] == dict(
        type='DumpDetResults', out_file_path='r.json', ann_file='a.json'
    )
    for wrong in (dict(out='r.txt'), dict(metrics=['bbox'], format_only=True)):
        with pytest.raises(ConfigError, match='--out|exclude each other'):
            configured(**wrong)
    with pytest.raises(ConfigError, match='no test_evaluator'):
        configured(run_config(test_evaluator=[]))
    for missing in ('test_evaluator', 'test_dataloader', 'model', 'test_cfg'):
        cfg = run_config()
        cfg.pop(missing)
        with pytest.raises(ConfigError, match=missing):
            configured(cfg)


def test_drawing():
    """The score threshold of the command line reaches the hook, with the window or the folder that was asked for."""
    shown = configured(show=True, show_score_thr=0.7, wait_time=5).default_hooks.visualization
    assert shown == dict(type='DetVisualizationHook', draw=True, score_thr=0.7, show=True, wait_time=5)
    hook = dict(type='DetVisualizationHook', draw=False, score_thr=0.1, interval=3)
    written = configured(run_config(default_hooks=dict(visualization=hook)), show_dir='vis').default_hooks.visualization
    assert written == dict(type='DetVisualizationHook', draw=True, score_thr=0.3, interval=3, test_out_dir='vis')


def test_flip_test_by_default():
    views = [[RESIZE], [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)], [PAD], [LABELS]]
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    expected = [LOAD, dict(type='TestTimeAug', transforms=[*views, [dict(PACK, meta_keys=keys)]])]
    assert default_tta_pipeline(PIPELINE) == expected
    assert default_tta_pipeline([LOAD, RESIZE, PACK])[1]['transforms'][2:] == [[dict(PACK, meta_keys=keys)]]
    with pytest.raises(ConfigError, match='tta_pipeline'):
        default_tta_pipeline([LOAD, PACK])
    assert dict(type='DetTTAModel') == DEFAULT_TTA_MODEL  # which has mmdetection's settings


def test_flip_test_reaches_every_dataset():
    leaf, own = dict(type='A', pipeline=PIPELINE), [dict(type='Own')]
    dataset = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[leaf, dict(leaf, type='B')]))
    cfg = configured(run_config(test_dataloader=dict(dataset=dataset)), tta=True)
    found = cfg.test_dataloader.dataset.dataset.datasets
    assert [part.pipeline for part in found] == [default_tta_pipeline(PIPELINE)] * 2
    cfg = configured(run_config(tta_pipeline=own), tta=True)
    assert cfg.test_dataloader.dataset.pipeline == own
    assert configured().test_dataloader.dataset.pipeline == PIPELINE
    with pytest.raises(ConfigError, match='no pipeline'):
        configured(run_config(test_dataloader=dict(dataset=dict(type='A'))), tta=True)


def train_config(cfg=None, **options):
    return configure_training(cfg or run_config(), work_dir='work', **options)


def test_training_without_wishes():
    cfg = train_config(run_config(load_from='start.pth', randomness=dict(seed=3)))
    assert (cfg.work_dir, cfg.launcher, cfg.load_from) == ('work', 'none', 'start.pth') and 'resume' not in cfg
    assert cfg.randomness == dict(seed=3) and cfg.trust_checkpoint is False
    assert cfg.val_cfg == {} and cfg.default_hooks.checkpoint.save_best == 'auto'
    assert cfg.optim_wrapper == dict(type='OptimWrapper')


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(resume=True), dict(resume='auto', load_from='start.pth')),
        (dict(resume='e.pth'), dict(resume=True, load_from='e.pth')),
        (dict(seed=0), dict(randomness=dict(seed=0, diff_rank_seed=True))),
        (dict(deterministic=True), dict(randomness=dict(seed=3, diff_rank_seed=True, deterministic=True))),
        (dict(amp=True), dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'))),
        (dict(auto_scale_lr=True), dict(auto_scale_lr=dict(base_batch_size=16, enable=True))),
        (dict(validate=False), dict(val_cfg=None, val_dataloader=None, val_evaluator=None)),
        (dict(trust_checkpoint=True, launcher='slurm'), dict(trust_checkpoint=True, launcher='slurm')),
    ],
)
def test_options_of_training(options, expected):
    cfg = run_config(
        load_from='start.pth', randomness=dict(seed=3, diff_rank_seed=True), auto_scale_lr=dict(base_batch_size=16)
    )
    cfg = train_config(cfg, **options)
    assert {key: cfg[key] for key in expected} == expected
    assert ('save_best' in cfg.default_hooks.checkpoint) == options.get('validate', True)


def test_refused_options_of_training():
    with pytest.raises(ConfigError, match='base_batch_size'):
        train_config(auto_scale_lr=True)
    with pytest.raises(ConfigError, match="'OptimWrapper' or 'AmpOptimWrapper'"):
        train_config(run_config(optim_wrapper=dict(type='Other')), amp=True)
    kept = train_config(run_config(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=8.0)), amp=True)
    assert kept.optim_wrapper.loss_scale == 8.0
