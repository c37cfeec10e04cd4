import runpy
import shutil
import sys

import pytest
import torch
from mmengine.config import Config

from mmdet.archs import build_structure, load_structure
from mmdet.config.legacy import UpgradeReport, looks_legacy, read_legacy_config, upgrade_config
from mmdet.config.legacy.pipeline import PipelineUpgrader
from mmdet.datasets.transforms import Compose
from mmdet.registry import MODELS
from mmdet.utils import ConfigError, load_config

from . import old_configs

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
NORMALIZE = dict(type='Normalize', mean=MEAN, std=STD, to_rgb=True)
COLLECT = dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])


def write(folder, text: str, name: str = 'old.py'):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(folder, text: str) -> tuple[Config, UpgradeReport]:
    report = UpgradeReport()
    return read_legacy_config(write(folder, text), report=report)[0], report


def without_none(value):
    """Keys that say nothing left out, tuples as lists."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None and (k, v) != ('format_only', False)}
    if isinstance(value, (list, tuple)):
        return [without_none(item) for item in value]
    return value


# ---- which configs are old


def test_an_empty_config_is_not_old():
    assert not looks_legacy({})
    with pytest.raises(ConfigError, match='not an old-style config'):
        upgrade_config({})


@pytest.mark.parametrize(
    ('cfg', 'old'),
    [
        (dict(total_epochs=12), True),
        (dict(data=dict(imgs_per_gpu=2)), True),
        (dict(model=dict(type='GFL', pretrained='torchvision://resnet50')), True),
        (dict(model=dict(type='GFL')), False),
        (dict(optimizer=dict(type='SGD')), False),  # a helper variable in many new configs
        (dict(train_dataloader={}, img_norm_cfg={}, data={}), False),
    ],
)
def test_looks_legacy(cfg, old):
    assert looks_legacy(cfg) is old


def test_new_configs_of_the_tree_are_left_alone(repository):
    paths = [path for path in (repository / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert paths
    for path in paths:
        assert read_legacy_config(path) is None, path


# ---- whole configs of the reference projects


@pytest.mark.parametrize(
    ('old', 'new', 'differing'),
    [
        ('GFOCAL_R50_1X', 'gfocal/gfocal_r50_fpn_1x.py', {}),
        ('GFOCAL_R50_MS2X', 'gfocal/gfocal_r50_fpn_ms2x.py', {}),
        ('GFL_R101_DCONV', 'gfl/gfl_r101-dconv-c3-c5_fpn_ms-2x_coco.py', {}),
        ('GFL_V1_R50_1X', 'gfl_r50_1x.py', {'model.type': 'ATSS', 'optim_wrapper.constructor': None}),
        (
            'VIT_ADAPTER',
            'vit_adapter/gfl_deit_adapter_small_fpn_3x_coco.py',
            {
                'model.backbone.init_cfg.checkpoint': 'pretrained/deit_small_patch16_224-cd65a155.pth',
                'optim_wrapper.constructor': None,
            },
        ),
    ],
)
def test_a_translated_config_is_the_one_of_this_tree(tmp_path, repository, old, new, differing):
    """Without its bases; data, model and schedule agree to the last key."""
    cfg, _ = read(tmp_path, getattr(old_configs, old))
    expected = Config.fromfile(repository / 'configs' / new)
    expected.merge_from_dict(differing)
    keys = [f'{split}_{kind}' for split in ('train', 'val', 'test') for kind in ('dataloader', 'evaluator', 'cfg')]
    for key in (
        'model',
        'optim_wrapper',
        'param_scheduler',
        'find_unused_parameters',
        'default_scope',
        'env_cfg',
        *keys,
    ):
        assert without_none(cfg.get(key)) == without_none(expected.get(key)), key


@pytest.mark.parametrize(
    ('old', 'parameters'),
    [
        ('GFOCAL_R50_1X', 32_441_946),
        ('GFL_R101_DCONV', 52_718_837),
        ('GFL_V1_R50_1X', 32_440_537),
        ('VIT_ADAPTER', 35_813_801),
    ],
)
def test_translated_models_and_pipelines_build(tmp_path, old, parameters):
    cfg = load_config(write(tmp_path, getattr(old_configs, old)))
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) == parameters
    for split in ('train', 'val', 'test'):
        Compose(list(cfg[f'{split}_dataloader'].dataset.pipeline))


def test_ufpmp_det(tmp_path):
    cfg, report = read(tmp_path, old_configs.UFPMP_MP_DET)
    assert cfg.model.bbox_head.type == 'MPHead' and cfg.model.test_cfg.nms.class_agnostic
    train = cfg.train_dataloader
    assert (train.batch_size, cfg.val_dataloader.batch_size, cfg.test_dataloader.batch_size) == (4, 1, 3)
    assert (train.dataset.type, train.dataset.times) == ('RepeatDataset', 5)
    inner = train.dataset.dataset
    assert inner.metainfo.classes == ('pedestrian', 'people') and inner.data_root == '/home/someone/VisDrone/'
    assert (inner.ann_file, inner.data_prefix.img) == ('train.json', 'images/')
    assert [step.type for step in inner.pipeline][-2:] == ['Albu', 'PackDetInputs']
    albu = inner.pipeline[-2]
    assert albu.transforms[0].border_mode == 4 and albu.bbox_params.label_fields[0] == 'gt_bboxes_labels'
    Compose(list(inner.pipeline))
    assert cfg.test_evaluator.ann_file == '/home/someone/VisDrone/val.json' and cfg.test_evaluator.classwise
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper',
        loss_scale=512.0,
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),
        clip_grad=dict(max_norm=10, norm_type=2),
    )
    assert cfg.train_cfg.val_interval == 2 and cfg.default_hooks.checkpoint.save_best == 'coco/bbox_mAP'
    assert [hook.type for hook in cfg.custom_hooks] == ['OptimalTransportHook']
    assert cfg.resume is True and cfg.load_from == 'work_dirs/epoch_3.pth'
    assert [backend.type for backend in cfg.vis_backends] == ['LocalVisBackend', 'TensorboardVisBackend']
    # The flip test is an option now, merged by the NMS of the config.
    flips = cfg.tta_pipeline[-1].transforms[1]
    assert [flip.prob for flip in flips] == [1.0, 0.0] and cfg.tta_model.tta_cfg.max_per_img == 500
    Compose(list(cfg.tta_pipeline))
    notes = '\n'.join(report.notes)
    assert '--tta' in notes and 'Albu came after Normalize' in notes


# ---- bases


def test_a_new_style_base_of_a_known_name_is_replaced(tmp_path, repository):
    """An old config dropped into this tree: its bases exist, but say things in another way."""
    shutil.copytree(repository / 'configs' / '_base_', tmp_path / '_base_')
    cfg, report = read(tmp_path / 'gfocal', old_configs.GFOCAL_R50_MS2X)
    assert 'new-style here' in report.notes[0]
    assert cfg.train_dataloader.dataset.pipeline[2].scale == [(1333, 480), (1333, 960)]


@pytest.mark.parametrize(
    ('length', 'epochs'),
    [('runner = dict(type="EpochBasedRunner", max_epochs=73)', 73), ('total_epochs = 73', 73), ('', 12)],
)
def test_a_base_that_is_not_there_sets_no_length(tmp_path, length, epochs):
    bases = '_base_ = ["../_base_/datasets/coco_detection.py", "../_base_/schedules/schedule_1x.py"]\n'
    cfg, _ = read(tmp_path, f'{bases}lr_config = dict(step=[65, 71])\n{length}\n')
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == epochs and 'stand_in_epochs' not in cfg


STEM = {'class': 'ConvKXBNRELU', 'in': 3, 'out': 8, 'k': 3, 's': 2}
MADNAS = """_base_ = 'gfocal_r50_fpn_ms6x.py'
model = dict(backbone=dict(type='MadNas', net_str='{path}', out_indices=(1, 2, 3, 4), init_cfg={init}),
             neck=dict(in_channels=[48, 272, 1024, 2048], out_channels=192), bbox_head=dict(in_channels=192, feat_channels=192))
total_epochs = 73
use_syncBN_torch = True
"""


def test_maedet_of_lightnas(tmp_path):
    cfg, report = read(tmp_path, MADNAS.format(path='configs/gfocal_madnas/maedet_s.txt', init=None))
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.norm_cfg.type, 'init_cfg' in backbone) == ('TinyNASBackbone', 'SyncBN', False)
    assert cfg.train_cfg.max_epochs == 73 and any('published structure of maedet_s' in note for note in report.notes)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.backbone.parameters()) == 21_233_120
    assert model.backbone.out_channels == [48, 272, 1024, 2048]


@pytest.mark.parametrize('name', ['maedet_s', 'maedet_m', 'maedet_l'])
def test_the_published_structures_are_those_of_the_configs(tmp_path, repository, name):
    cfg, _ = read(tmp_path, MADNAS.format(path=f'{name}.txt', init=None))
    ours = load_structure(repository / f'configs/tinynas/detection/models/{name}.json')
    assert build_structure(cfg.model.backbone.structure) == ours


def test_maedet_with_files_of_its_own(tmp_path):
    structure = write(tmp_path, repr({'space_arch': 'CnnNet', 'best_structures': [[STEM]]}), 'mine.txt')
    cfg, report = read(tmp_path, MADNAS.format(path=structure, init="'weights.pth'"))
    assert cfg.model.backbone.structure == str(structure)
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='weights.pth')
    with pytest.raises(ConfigError, match='needs the file of its structure'):
        upgrade(total_epochs=1, model=dict(backbone=dict(type='MadNas')))


def test_an_old_style_base_is_used(tmp_path):
    write(tmp_path, 'total_epochs = 7\nmodel = dict(type="GFL")\n', 'base.py')
    cfg, report = read(tmp_path, '_base_ = "./base.py"\nevaluation = dict(interval=3)\n')
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=7, val_interval=3) and not report.notes


def test_base_variables_survive_a_rewritten_base(tmp_path):
    text = (
        '_base_ = [\n    "../_base_/default_runtime.py",\n    "./names.py",\n]\n'
        'data = dict(train=dict(classes={{_base_.names}}, ann_file="{{ fileDirname }}/a.json", pipeline=[]))\n'
    )
    write(tmp_path, 'names = ("a", "b")\n', 'names.py')
    cfg, _ = read(tmp_path, text)
    dataset = cfg.train_dataloader.dataset
    assert dataset.metainfo.classes == ('a', 'b') and dataset.ann_file == f'{tmp_path}/a.json'
    assert cfg.filename == str(tmp_path / 'old.py')


def test_an_unknown_missing_base_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'old.py: _base_: no such base file.*mine\.py'):
        read(tmp_path, '_base_ = ["./mine.py"]\ntotal_epochs = 1\n')


def test_a_new_style_base_of_another_name_is_refused(tmp_path):
    write(tmp_path, 'optim_wrapper = dict()\n', 'mine.py')
    with pytest.raises(ConfigError, match='cannot build on this new-style file'):
        read(tmp_path, '_base_ = ["./mine.py"]\ntotal_epochs = 1\n')


def test_circular_bases_end(tmp_path):
    write(tmp_path, '_base_ = ["./old.py"]\n', 'other.py')
    with pytest.raises(ConfigError, match='its own base'):
        read(tmp_path, '_base_ = ["./other.py"]\ntotal_epochs = 1\n')


def test_custom_imports_are_not_followed(tmp_path, monkeypatch):
    write(tmp_path, f'open({str(tmp_path / "ran")!r}, "w")\n', 'planted_module.py')
    monkeypatch.syspath_prepend(tmp_path)
    cfg, report = read(tmp_path, 'total_epochs = 1\ncustom_imports = dict(imports=["planted_module"])\n')
    assert not (tmp_path / 'ran').exists() and 'planted_module' in cfg.custom_imports.imports
    assert any('custom_imports' in note for note in report.notes)


# ---- through the front door


def test_load_config_takes_options_of_both_styles(tmp_path):
    path = write(tmp_path, old_configs.GFL_V1_R50_1X)
    options = {'data.imgs_per_gpu': 5, 'optimizer.lr': 0.5, 'test_cfg.score_thr': 0.2, 'train_cfg.assigner.topk': 3}
    options |= {'train_dataloader.num_workers': 0, 'model.backbone.depth': 101}
    cfg = load_config(path, options)
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers) == (5, 0)
    assert cfg.optim_wrapper.optimizer.lr == 0.5 and cfg.model.backbone.depth == 101
    assert cfg.model.test_cfg.score_thr == 0.2 and cfg.model.train_cfg.assigner.topk == 3
    assert cfg.test_cfg == dict(type='TestLoop')


def test_load_config_names_the_file_of_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r'old\.py.*lr_config\.policy.*cyclic'):
        load_config(write(tmp_path, 'total_epochs = 1\nlr_config = dict(policy="cyclic")\n'))
    with pytest.raises(ConfigError, match='syntax error'):
        load_config(write(tmp_path, 'total_epochs = = 1\n'))


def test_a_config_that_is_a_class(tmp_path):
    """DAMO-YOLO's are; nothing of the file runs."""
    text = 'import os\nfrom damo.config import Config as Base\n\n\nclass Config(Base):\n    pass\n'
    with pytest.raises(ConfigError, match=r'old\.py: line 5: the config is a class, as in DAMO-YOLO'):
        load_config(write(tmp_path, text))


def test_json(tmp_path):
    path = write(tmp_path, '{"total_epochs": 3, "model": {"type": "GFL"}}', 'old.json')
    assert load_config(path).train_cfg.max_epochs == 3


def test_tool_writes_a_config_of_its_own(tmp_path, repository, monkeypatch, capsys):
    old, new = write(tmp_path, old_configs.GFOCAL_R50_1X), tmp_path / 'new.py'
    script = str(repository / 'tools' / 'model_converters' / 'upgrade_config.py')
    monkeypatch.setattr(sys, 'argv', [script, str(old), str(new)])
    runpy.run_path(script, run_name='__main__')
    assert 'translated: model.pretrained -> model.backbone.init_cfg' in capsys.readouterr().out
    written = Config.fromfile(new)
    assert not looks_legacy(written) and written.to_dict() == load_config(old).to_dict()
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(script, run_name='__main__')
    assert caught.value.code == 2 and '--force' in capsys.readouterr().err


# ---- single steps


def pipeline(*steps, training: bool = True):
    report = UpgradeReport()
    return PipelineUpgrader('p', training, report)(list(steps)), report


def test_empty_pipeline():
    upgraded, _ = pipeline()
    assert upgraded.steps == [] and upgraded.normalise is None and upgraded.size_divisor is None


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(img_scale=(1333, 800)), dict(type='Resize', scale=(1333, 800), keep_ratio=True)),
        (dict(img_scale=[(1333, 800)], keep_ratio=False), dict(type='Resize', scale=(1333, 800), keep_ratio=False)),
        (
            dict(img_scale=[(1333, 480), (1333, 800)], bbox_clip_border=False),
            dict(type='RandomResize', scale=[(1333, 480), (1333, 800)], keep_ratio=True, clip_object_border=False),
        ),
        (
            dict(img_scale=[(9, 4), (9, 5), (9, 6)], multiscale_mode='value', override=True),
            dict(type='RandomChoiceResize', scales=[(9, 4), (9, 5), (9, 6)], keep_ratio=True),
        ),
        (
            dict(img_scale=(640, 640), ratio_range=(0.5, 1.5)),
            dict(type='RandomResize', scale=(640, 640), ratio_range=(0.5, 1.5), keep_ratio=True),
        ),
    ],
)
def test_resize(old, new):
    assert pipeline(dict(type='Resize', **old))[0].steps == [new]


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(type='RandomFlip', flip_ratio=0.5), [dict(type='RandomFlip', prob=0.5)]),
        (dict(type='RandomFlip'), []),
        (
            dict(type='RandomFlip', flip_ratio=[0.3, 0.2], direction=['horizontal', 'vertical']),
            [dict(type='RandomFlip', prob=[0.3, 0.2], direction=['horizontal', 'vertical'])],
        ),
        (dict(type='RandomCrop', crop_size=(300, 400)), [dict(type='RandomCrop', crop_size=(400, 300))]),
        (
            dict(type='RandomCrop', crop_size=(384, 600), crop_type='absolute_range'),
            [dict(type='RandomCrop', crop_size=(384, 600), crop_type='absolute_range')],
        ),
        (dict(type='Pad', size=(640, 640)), [dict(type='Pad', size=(640, 640), pad_val=0)]),
        (COLLECT, [dict(type='PackDetInputs')]),
        (dict(type='DefaultFormatBundle'), []),
        (
            dict(type='LoadImageFromFile', file_client_args=dict(backend='petrel', enable_mc=True)),
            [dict(type='LoadImageFromFile', backend_args=dict(backend='petrel', enable_mc=True))],
        ),
        (dict(type='LoadImageFromFile', file_client_args=dict(backend='disk')), [dict(type='LoadImageFromFile')]),
    ],
)
def test_other_steps(old, new):
    assert pipeline(old)[0].steps == new


def test_padding_behind_normalize_was_the_mean_colour():
    upgraded, _ = pipeline(NORMALIZE, dict(type='Pad', size=(640, 640)))
    assert upgraded.steps == [dict(type='Pad', size=(640, 640), pad_val=(104, 116, 124))]  # BGR
    assert upgraded.normalise == dict(mean=MEAN, std=STD, to_rgb=True)


def test_unknown_steps_are_kept_and_named():
    upgraded, report = pipeline(dict(type='Polish', strength=3))
    assert upgraded.steps == [dict(type='Polish', strength=3)] and report.unknown == ['p: Polish: kept as it is']


def test_a_step_without_type_is_named():
    with pytest.raises(ConfigError, match=r'p\[1\]'):
        pipeline(COLLECT, dict(size=3))


def test_test_time_scales():
    resize, flip, collect = dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), dict(COLLECT, keys=['img'])
    wrapper = dict(
        type='MultiScaleFlipAug',
        img_scale=[(1333, 800), (2000, 1200)],
        flip=True,
        flip_direction=['horizontal', 'vertical'],
        transforms=[resize, flip, collect],
    )
    upgraded, _ = pipeline(dict(type='LoadImageFromFile'), wrapper, training=False)
    assert [step['type'] for step in upgraded.steps] == [
        'LoadImageFromFile',
        'Resize',
        'LoadAnnotations',
        'PackDetInputs',
    ]
    assert upgraded.steps[1]['scale'] == (1333, 800)
    views = upgraded.tta_steps[1]['transforms']
    assert [len(step) for step in views] == [2, 3, 1, 1]
    assert 'flip_direction' in views[-1][0]['meta_keys'] and 'flip_direction' not in upgraded.steps[-1]['meta_keys']


# ---- data, schedule, runtime


def upgrade(**cfg) -> tuple[Config, UpgradeReport]:
    report = UpgradeReport()
    return upgrade_config(cfg, report), report


def test_several_annotation_files_become_several_datasets():
    train = dict(
        type='CocoDataset', ann_file=['a.json', 'b.json'], img_prefix=['a/', 'b/'], filter_empty_gt=False, pipeline=[]
    )
    cfg, _ = upgrade(data=dict(samples_per_gpu=2, train=train))
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == 'ConcatDataset' and [d.ann_file for d in dataset.datasets] == ['a.json', 'b.json']
    assert dataset.datasets[1].data_prefix.img == 'b/' and dataset.datasets[0].filter_cfg.filter_empty_gt is False


def test_loader_settings_of_their_own():
    split = dict(type='CocoDataset', ann_file='a.json', pipeline=[])
    cfg, report = upgrade(
        data=dict(
            samples_per_gpu=2,
            workers_per_gpu=0,
            train=split,
            val=split,
            train_dataloader=dict(samples_per_gpu=7, persistent_workers=False),
            val_dataloader=dict(samples_per_gpu=3, workers_per_gpu=1, oddity=1),
        )
    )
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.persistent_workers) == (7, False)
    assert (cfg.val_dataloader.batch_size, cfg.val_dataloader.num_workers) == (3, 1)
    assert 'test_cfg' not in cfg and report.dropped == ['data.val_dataloader.oddity: not known']


def test_different_normalisations_are_refused():
    train = dict(type='CocoDataset', pipeline=[NORMALIZE, COLLECT])
    test = dict(type='CocoDataset', pipeline=[dict(NORMALIZE, to_rgb=False), COLLECT])
    with pytest.raises(ConfigError, match=r'data\.test.*differ from those of data\.train'):
        upgrade(model=dict(type='GFL'), data=dict(samples_per_gpu=2, train=train, test=test))


@pytest.mark.parametrize(
    ('lr_config', 'expected'),
    [
        (dict(policy='fixed'), []),
        (
            dict(policy='step', step=3, gamma=0.5),
            [dict(type='StepLR', step_size=3, gamma=0.5, begin=0, end=9, by_epoch=True)],
        ),
        (
            dict(policy='CosineAnnealing', min_lr_ratio=0.1, warmup='constant', warmup_iters=10, warmup_ratio=0.2),
            [
                dict(type='ConstantLR', factor=0.2, by_epoch=False, begin=0, end=10),
                dict(type='CosineAnnealingLR', T_max=9, eta_min_ratio=0.1, begin=0, end=9, by_epoch=True),
            ],
        ),
        (
            dict(policy='poly', power=0.9, min_lr=1e-5),
            [dict(type='PolyLR', power=0.9, eta_min=1e-5, begin=0, end=9, by_epoch=True)],
        ),
    ],
)
def test_learning_rate(lr_config, expected):
    cfg, _ = upgrade(total_epochs=9, lr_config=lr_config)
    assert cfg.param_scheduler == expected


def test_iterations_instead_of_epochs():
    cfg, _ = upgrade(
        runner=dict(type='IterBasedRunner', max_iters=100),
        lr_config=dict(policy='step', step=[60]),
        evaluation=dict(interval=50),
        checkpoint_config=dict(interval=50, by_epoch=False),
    )
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=100, val_interval=50)
    assert cfg.param_scheduler[0] == dict(
        type='MultiStepLR', milestones=[60], gamma=0.1, begin=0, end=100, by_epoch=False
    )
    assert cfg.default_hooks.checkpoint.by_epoch is False and cfg.log_processor.by_epoch is False


def test_contradictory_lengths_are_refused():
    with pytest.raises(ConfigError, match='differs from total_epochs=12'):
        upgrade(total_epochs=12, runner=dict(type='EpochBasedRunner', max_epochs=24))


def test_hooks_and_surroundings():
    cfg, report = upgrade(
        total_epochs=1,
        log_config=dict(
            interval=5, hooks=[dict(type='WandbLoggerHook', init_kwargs=dict(project='p')), dict(type='Pager')]
        ),
        custom_hooks=[dict(type='ExpMomentumEMAHook', momentum=0.001, total_iter=500), dict(type='Mine')],
        dist_params=dict(backend='gloo'),
        workflow=[('train', 1), ('val', 1)],
        seed=3,
        gpu_ids=[0],
        my_setting=4,
    )
    assert cfg.default_hooks.logger.interval == 5 and cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.vis_backends[1] == dict(type='WandbVisBackend', init_kwargs=dict(project='p'))
    assert cfg.custom_hooks[0] == dict(
        type='EMAHook', momentum=0.001, ema_type='ExpMomentumEMA', gamma=500, update_buffers=True
    )
    assert cfg.randomness.seed == 3 and cfg.my_setting == 4
    assert set(report.unknown) == {'custom_hooks: Mine: kept as it is', 'my_setting: kept as it is'}
    assert [entry.split(':')[0] for entry in report.dropped] == [
        'log_config.hooks',
        "workflow [('train', 1), ('val', 1)]",
        'gpu_ids',
    ]


def test_deformable_layers_of_older_configs():
    dcn = dict(modulated=True, deformable_groups=1, fallback_on_stride=False)
    cfg, _ = upgrade(total_epochs=1, model=dict(type='GFL', backbone=dict(type='ResNet', depth=50, dcn=dcn)))
    assert cfg.model.backbone.dcn == dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)


@pytest.mark.parametrize(
    ('root', 'file', 'expected'),
    [
        (None, 'a.json', 'a.json'),
        ('d', 'a.json', 'd/a.json'),
        ('d/', 'a.json', 'd/a.json'),
        ('d', '/a.json', '/a.json'),
    ],
)
def test_annotation_file_of_the_metric(root, file, expected):
    split = dict(type='CocoDataset', data_root=root, ann_file=file, pipeline=[])
    cfg, _ = upgrade(data=dict(samples_per_gpu=2, val=dict(type='RepeatDataset', times=2, dataset=split)))
    assert cfg.val_evaluator.ann_file == expected


@pytest.mark.parametrize(
    ('file', 'prefix', 'expected'),
    [
        ('d/a.json', 'd/images/', ('d/', 'a.json', 'images/')),
        ('d/a.json', 'e/images/', (None, 'd/a.json', 'e/images/')),
        ('e/a.json', 'd/images/', (None, 'e/a.json', 'd/images/')),
    ],
)
def test_paths_are_cut_only_where_both_lie_below_the_root(file, prefix, expected):
    split = dict(type='CocoDataset', ann_file=file, img_prefix=prefix, pipeline=[])
    cfg, _ = upgrade(data_root='d/', data=dict(val=split), total_epochs=1)
    found = cfg.val_dataloader.dataset
    assert (found.get('data_root'), found.ann_file, found.data_prefix.img) == expected


@pytest.mark.parametrize(
    ('sizes', 'expected'),
    [
        ({}, (2, 1, 1)),
        (dict(samples_per_gpu=5), (5, 1, 1)),
        (dict(imgs_per_gpu=4), (4, 1, 1)),
        (dict(samples_per_gpu=5, test_dataloader=dict(samples_per_gpu=3)), (5, 1, 3)),
        (dict(samples_per_gpu=5, train_dataloader=dict(samples_per_gpu=3)), (3, 1, 1)),
    ],
)
def test_batch_sizes(sizes, expected):
    """Validation and test read one image at a time, whatever the batch size of the training is."""
    splits = {split: dict(type='CocoDataset', pipeline=[]) for split in ('train', 'val', 'test')}
    cfg, _ = upgrade(data=dict(splits, **sizes), total_epochs=1)
    assert tuple(cfg[f'{split}_dataloader'].batch_size for split in splits) == expected
    assert [cfg[f'{split}_dataloader'].sampler.shuffle for split in splits] == [True, False, False]


def test_the_views_of_the_test_set_win_over_those_of_the_validation_set():
    views = [dict(type='MultiScaleFlipAug', img_scale=(8, 8), flip=True, transforms=[dict(type='Resize'), COLLECT])]
    two = [dict(views[0], img_scale=[(8, 8), (9, 9)])]
    data = {'val': dict(type='CocoDataset', pipeline=views), 'test': dict(type='CocoDataset', pipeline=two)}
    cfg, _ = upgrade(data=data, total_epochs=1)
    assert len(cfg.tta_pipeline[0].transforms[0]) == 2
    assert cfg.tta_model.tta_cfg == dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)


@pytest.mark.parametrize(
    ('optimizer', 'config', 'expected'),
    [
        ({}, dict(grad_clip=dict(max_norm=3), cumulative_iters=4), dict(clip_grad=dict(max_norm=3), accumulative_counts=4)),
        ({}, dict(grad_clip=None, update_interval=1), {}),
        (dict(constructor='DefaultOptimizerConstructor'), dict(loss_scale=3), {}),
        (dict(constructor='Mine'), dict(type='Fp16OptimizerHook'), dict(type='AmpOptimWrapper', loss_scale=512.0, constructor='Mine')),
        (dict(paramwise_cfg=dict(bias_decay_mult=0)), {}, dict(paramwise_cfg=dict(bias_decay_mult=0, norm_decay_mult=1))),
    ],
)  # fmt: skip
def test_optimizers(optimizer, config, expected):
    cfg, _ = upgrade(total_epochs=1, optimizer=dict(type='SGD', **optimizer), optimizer_config=config)
    assert cfg.optim_wrapper == {'type': 'OptimWrapper', 'optimizer': dict(type='SGD'), **expected}


def test_logging_hooks_and_their_arguments():
    hooks = [
        dict(type='MlflowLoggerHook', exp_name='e', init_kwargs=1), dict(type='TensorboardLoggerHook', exp_name='e'),
        dict(type='MMDetWandbHook', exp_name='e', init_kwargs=dict(a=1)),
    ]  # fmt: skip
    cfg, _ = upgrade(total_epochs=1, log_config=dict(hooks=hooks))
    assert cfg.vis_backends[1:] == [
        dict(type='MLflowVisBackend', exp_name='e'),
        dict(type='TensorboardVisBackend'),
        dict(type='WandbVisBackend', init_kwargs=dict(a=1)),
    ]
