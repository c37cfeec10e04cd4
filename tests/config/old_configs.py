"""Old-style configs of the family, as text: written from what the reference projects' configs say, not copied from them."""

_NORM = 'img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)\n'
_BACKBONE = """dict(type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
    norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True, style='pytorch')"""
_BASES = """_base_ = ['../_base_/datasets/coco_detection.py', '../_base_/schedules/schedule_1x.py', '../_base_/default_runtime.py']
"""


def _train(resize: str, *, extra: str = '') -> str:
    return f"""train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    {resize},
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),{extra}
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
"""


def _test(scale: str = '(1333, 800)', flip: bool = False) -> str:
    return f"""test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale={scale}, flip={flip}, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]),
]
"""


def _head(kind: str, classes: int, extra: str = '', sigmoid: bool = True) -> str:
    return f"""dict(type='{kind}', num_classes={classes}, in_channels=256, stacked_convs=4, feat_channels=256,
    anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1,
                          strides=[8, 16, 32, 64, 128]),
    loss_cls=dict(type='QualityFocalLoss', use_sigmoid={sigmoid}, beta=2.0, loss_weight=1.0),
    loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25), reg_max=16{extra},
    loss_bbox=dict(type='GIoULoss', loss_weight=2.0))"""


def _model(head: str, pretrained: str = 'torchvision://resnet50') -> str:
    return f"""model = dict(type='GFL', pretrained='{pretrained}', backbone={_BACKBONE},
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, start_level=1,
              add_extra_convs='on_output', num_outs=5),
    bbox_head={head})
train_cfg = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False)
"""


_TEST_CFG = """test_cfg = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6{nms}),
                max_per_img={count})
"""
_GFOCAL_HEAD = _head('GFocalHead', 80, ', reg_topk=4, reg_channels=64, add_mean=True', sigmoid=False)

# GFLV2's repository (2.6): settings of the detector at the top level.
GFOCAL_R50_1X = (
    _BASES
    + _model(_GFOCAL_HEAD)
    + _TEST_CFG.format(nms='', count=100)
    + "optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)\n"
)
GFOCAL_R50_MS2X = (
    GFOCAL_R50_1X
    + 'lr_config = dict(step=[16, 22])\ntotal_epochs = 24\n'
    + _NORM
    + _train("dict(type='Resize', img_scale=[(1333, 480), (1333, 960)], multiscale_mode='range', keep_ratio=True)")
    + 'data = dict(train=dict(pipeline=train_pipeline))\n'
)

# mmdetection 2.x: one line over bases that stayed behind.
GFL_R101_DCONV = """_base_ = './gfl_r101_fpn_mstrain_2x_coco.py'
model = dict(backbone=dict(dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
                           stage_with_dcn=(False, True, True, True)))
"""

# GFL's own repository (1.x): flat, classes counted with the background.
GFL_V1_R50_1X = (
    """model = dict(type='ATSS', pretrained='torchvision://resnet50', backbone="""
    + _BACKBONE
    + """,
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, start_level=1, add_extra_convs=True,
              extra_convs_on_inputs=False, num_outs=5),
    bbox_head=dict(type='GFLHead', num_classes=81, in_channels=256, stacked_convs=4, feat_channels=256,
        octave_base_scale=8, scales_per_octave=1, anchor_ratios=[1.0], anchor_strides=[8, 16, 32, 64, 128],
        target_means=[.0, .0, .0, .0], target_stds=[0.1, 0.1, 0.2, 0.2],
        loss_qfl=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25), reg_max=16,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0)))
train_cfg = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False)
test_cfg = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_thr=0.6), max_per_img=100)
dataset_type = 'CocoDataset'
data_root = 'data/coco/'
"""
    + _NORM
    + _train("dict(type='Resize', img_scale=(1333, 800), keep_ratio=True)")
    + _test()
    + """data = dict(imgs_per_gpu=2, workers_per_gpu=2,
    train=dict(type=dataset_type, ann_file=data_root + 'annotations/instances_train2017.json',
               img_prefix=data_root + 'train2017/', pipeline=train_pipeline),
    val=dict(type=dataset_type, ann_file=data_root + 'annotations/instances_val2017.json',
             img_prefix=data_root + 'val2017/', pipeline=test_pipeline),
    test=dict(type=dataset_type, ann_file=data_root + 'annotations/instances_val2017.json',
              img_prefix=data_root + 'val2017/', pipeline=test_pipeline))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001,
                 paramwise_options=dict(bias_lr_mult=2., bias_decay_mult=0.))
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=1.0 / 3, step=[8, 11])
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
total_epochs = 12
dist_params = dict(backend='nccl')
log_level = 'INFO'
work_dir = './work_dirs/gfl_r50_1x'
load_from = None
resume_from = None
workflow = [('train', 1)]
"""
)

_ALBU = """
    dict(type='Albu', transforms=albu_train_transforms,
         bbox_params=dict(type='BboxParams', format='pascal_voc', label_fields=['gt_labels'], min_visibility=0.0,
                          filter_lost_elements=True),
         keymap={'img': 'image', 'gt_bboxes': 'bboxes'}, update_pad_shape=False, skip_img_without_anno=True),"""

# UFPMP-Det (2.19): a repeated dataset, albumentations behind Normalize, a flip test, a hook of its own.
UFPMP_MP_DET = (
    "_base_ = ['../_base_/schedules/schedule_1x.py', '../_base_/default_runtime.py']\n"
    + _model(_head('MPHead', 10, ', proxies_list=[2, 3, 2, 5, 4, 8, 8, 4, 3, 3], num_words=200, beta=0'))
    + _TEST_CFG.format(nms=', class_agnostic=True', count=500)
    + """albu_train_transforms = [
    dict(type='ShiftScaleRotate', shift_limit=0.0625, scale_limit=0.1, rotate_limit=45, interpolation=1, p=0.5),
    dict(type='OneOf', transforms=[dict(type='Blur', blur_limit=3, p=1.0)], p=0.1),
]
"""
    + _NORM
    + _train("dict(type='Resize', img_scale=(1333, 1333), keep_ratio=True)", extra=_ALBU)
    + _test('(1333, 1333)', flip=True)
    + """data_root = '/home/someone/VisDrone/'
classes = ('pedestrian', 'people')
data = dict(samples_per_gpu=4, workers_per_gpu=2,
    train=dict(type='RepeatDataset', times=5, dataset=dict(type='CocoDataset', classes=classes,
        ann_file=data_root + 'train.json', img_prefix=data_root + 'images/', pipeline=train_pipeline)),
    val=dict(type='CocoDataset', classes=classes, ann_file=data_root + 'val.json', img_prefix=data_root + 'val/',
             pipeline=test_pipeline),
    test=dict(type='CocoDataset', classes=classes, ann_file=data_root + 'val.json', img_prefix=data_root + 'val/',
              samples_per_gpu=3, pipeline=test_pipeline))
evaluation = dict(interval=2, metric='bbox', save_best='bbox_mAP', classwise=True)
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=10, norm_type=2))
custom_hooks = [dict(type='OptimalTransportHook', start_emb=2, priority='HIGHEST')]
fp16 = dict(loss_scale=512.)
log_config = dict(hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
resume_from = 'work_dirs/epoch_3.pth'
"""
)

# ViT-Adapter (2.22): AdamW without decay of norms, DETR's augmentation.
VIT_ADAPTER = (
    """_base_ = ['../_base_/datasets/coco_instance.py', '../_base_/schedules/schedule_3x.py', '../_base_/default_runtime.py']
model = dict(type='GFL',
    backbone=dict(type='ViTAdapter', patch_size=16, embed_dim=384, depth=12, num_heads=6, mlp_ratio=4,
        drop_path_rate=0.2, conv_inplane=64, n_points=4, deform_num_heads=6, cffn_ratio=0.25, deform_ratio=1.0,
        interaction_indexes=[[0, 2], [3, 5], [6, 8], [9, 11]], window_attn=[True, True, False] * 4,
        window_size=[14, 14, None] * 4, pretrained='pretrained/deit_small_patch16_224-cd65a155.pth'),
    neck=dict(type='FPN', in_channels=[384, 384, 384, 384], out_channels=256, start_level=1,
              add_extra_convs='on_output', num_outs=5),
    bbox_head="""
    + _head('GFLHead', 80)
    + """,
    train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100))
"""
    + _NORM
    + """sides = [(side, 1333) for side in range(480, 801, 32)]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='AutoAugment', policies=[
        [dict(type='Resize', img_scale=sides, multiscale_mode='value', keep_ratio=True)],
        [dict(type='Resize', img_scale=[(400, 1333), (500, 1333), (600, 1333)], multiscale_mode='value', keep_ratio=True),
         dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True),
         dict(type='Resize', img_scale=sides, multiscale_mode='value', override=True, keep_ratio=True)],
    ]),
    dict(type='RandomCrop', crop_type='absolute_range', crop_size=(1024, 1024), allow_negative_crop=True),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
data = dict(train=dict(pipeline=train_pipeline))
optimizer = dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.05, paramwise_cfg=dict(custom_keys={
    'level_embed': dict(decay_mult=0.), 'pos_embed': dict(decay_mult=0.), 'norm': dict(decay_mult=0.),
    'bias': dict(decay_mult=0.)}))
optimizer_config = dict(grad_clip=None)
fp16 = dict(loss_scale=dict(init_scale=512))
checkpoint_config = dict(interval=1, max_keep_ckpts=3, save_last=True)
find_unused_parameters = True
"""
)
