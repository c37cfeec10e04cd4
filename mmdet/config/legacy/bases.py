"""Contents of the ``_base_`` files of mmdetection 2.x, for old configs that arrive without them.

They are in the old style because an old config is merged over them before both are translated. For the same reason the
model of GFL-R50 cannot be read from this repository's ``configs/_base_``, which is new-style, may change, and is not
part of the installed package. Keys of :data:`BASES` are the last one or two parts of the path in a config.
"""

from pathlib import PurePosixPath

_NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


def _train_pipeline(img_scale: tuple[int, int] | list[tuple[int, int]]) -> list[dict]:
    resize: dict = dict(type='Resize', img_scale=img_scale, keep_ratio=True)
    if isinstance(img_scale, list):
        resize['multiscale_mode'] = 'range'
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        resize,
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(type='Normalize', **_NORM),
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
    ]


_TEST_PIPELINE: list[dict] = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(1333, 800),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **_NORM),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ],
    ),
]


def _coco_split(split: str, pipeline: list[dict]) -> dict:
    return dict(
        type='CocoDataset',
        ann_file=f'data/coco/annotations/instances_{split}.json',
        img_prefix=f'data/coco/{split}/',
        pipeline=pipeline,
    )


_COCO = dict(
    dataset_type='CocoDataset',
    data_root='data/coco/',
    img_norm_cfg=_NORM,
    train_pipeline=_train_pipeline((1333, 800)),
    test_pipeline=_TEST_PIPELINE,
    data=dict(
        samples_per_gpu=2,
        workers_per_gpu=2,
        train=_coco_split('train2017', _train_pipeline((1333, 800))),
        val=_coco_split('val2017', _TEST_PIPELINE),
        test=_coco_split('val2017', _TEST_PIPELINE),
    ),
    evaluation=dict(interval=1, metric='bbox'),
)


def _schedule(epochs: int, step: list[int]) -> dict:
    return dict(
        optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
        optimizer_config=dict(grad_clip=None),
        lr_config=dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=step),
        stand_in_epochs=epochs,  # the length unless the config says another, in either of the two ways
    )


_RUNTIME = dict(
    checkpoint_config=dict(interval=1),
    log_config=dict(interval=50, hooks=[dict(type='TextLoggerHook')]),
    custom_hooks=[dict(type='NumClassCheckHook')],
    dist_params=dict(backend='nccl'),
    log_level='INFO',
    load_from=None,
    resume_from=None,
    workflow=[('train', 1)],
)

_GFL: dict = dict(
    type='GFL',
    pretrained='torchvision://resnet50',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
    ),
    neck=dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs='on_output',
        num_outs=5,
    ),
    bbox_head=dict(
        type='GFLHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=[8, 16, 32, 64, 128],
        ),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        reg_max=16,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
    ),
)

# MAE-DET's base, in which the backbone is left open.
_GFOCAL = dict(
    {key: value for key, value in _GFL.items() if key not in ('pretrained', 'backbone')},
    bbox_head=dict(
        _GFL['bbox_head'],
        type='GFocalHead',
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=False, beta=2.0, loss_weight=1.0),
        reg_topk=4,
        reg_channels=64,
        add_mean=True,
    ),
)

BASES: dict[str, dict] = {
    'datasets/coco_detection.py': _COCO,
    # Masks are not read, hence this one is the same.
    'datasets/coco_instance.py': _COCO,
    'schedules/schedule_1x.py': _schedule(12, [8, 11]),
    'schedules/schedule_20e.py': _schedule(20, [16, 19]),
    'schedules/schedule_2x.py': _schedule(24, [16, 22]),
    'schedules/schedule_3x.py': _schedule(36, [27, 33]),
    'default_runtime.py': _RUNTIME,
    'gfl_r50_fpn_1x_coco.py': dict(
        _base_=['datasets/coco_detection.py', 'schedules/schedule_1x.py', 'default_runtime.py'],
        model=_GFL,
        optimizer=dict(lr=0.01),
    ),
    'gfocal_r50_fpn_ms6x.py': dict(
        _base_=['datasets/coco_detection.py', 'schedules/schedule_1x.py', 'default_runtime.py'],
        model=_GFOCAL,
        optimizer=dict(lr=0.01),
        lr_config=dict(warmup_iters=7330, warmup_ratio=0.1, step=[65, 71]),
        stand_in_epochs=73,
        data=dict(train=dict(pipeline=_train_pipeline([(1333, 480), (1333, 960)]))),
    ),
    'gfl_r50_fpn_mstrain_2x_coco.py': dict(
        _base_=['gfl_r50_fpn_1x_coco.py'],
        lr_config=dict(step=[16, 22]),
        stand_in_epochs=24,
        data=dict(train=dict(pipeline=_train_pipeline([(1333, 480), (1333, 800)]))),
    ),
    'gfl_r101_fpn_mstrain_2x_coco.py': dict(
        _base_=['gfl_r50_fpn_mstrain_2x_coco.py'],
        model=dict(pretrained='torchvision://resnet101', backbone=dict(depth=101)),
    ),
    'gfl_x101_32x4d_fpn_mstrain_2x_coco.py': dict(
        _base_=['gfl_r50_fpn_mstrain_2x_coco.py'],
        model=dict(
            pretrained='open-mmlab://resnext101_32x4d',
            backbone=dict(type='ResNeXt', depth=101, groups=32, base_width=4),
        ),
    ),
}
# Names that only mmdetection 2.x has: a config with such a base is an old one.
ONLY_OLD = frozenset(name for name in BASES if '_mstrain_' in name)


def known_base(path: str) -> str | None:
    """Key of :data:`BASES` for a path of a ``_base_`` list, or None.

    >>> known_base('../_base_/schedules/schedule_1x.py'), known_base('./mine.py')
    ('schedules/schedule_1x.py', None)
    """
    parts = PurePosixPath(path.replace('\\', '/')).parts
    return next((name for name in ('/'.join(parts[-2:]), parts[-1] if parts else '') if name in BASES), None)
