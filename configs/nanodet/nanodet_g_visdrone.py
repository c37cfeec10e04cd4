# NanoDet-g fine-tuned on VisDrone's ten classes: from COCO's weights, on crops of the images at several scales. load_from names the weights:
#   python tools/train.py configs/nanodet/nanodet_g_visdrone.py --cfg-options load_from=FILE
_base_ = [
    '../_base_/models/nanodet_g.py',
    '../_base_/datasets/visdrone_txt.py',
    '../_base_/default_runtime.py',
]
# What of COCO each class continues; the others (both tricycles) are new.
map_classes = dict(trained='coco', rename=dict(pedestrian='person', people='person', van='car', motor='motorcycle'))
model = dict(
    # Two and a half times as fast a training step in bfloat16, on one thread of a CPU with AMX.
    data_preprocessor=dict(channels_last=True),
    # The published weights at hand have their norms folded into the convolutions: without norms they are read as they are, and can be trained.
    backbone=dict(norm_cfg=None),
    bbox_head=dict(num_classes=10, norm_cfg=None),
    test_cfg=dict(nms_pre=-1, nms_pre_rule='pairs', max_per_img=500),
)

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomChoiceResize', scales=[(1333, 1333), (1600, 1600), (2048, 2048), (2400, 2400)], keep_ratio=True),
    dict(type='RandomCrop', crop_size=(640, 640), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', hue_delta=0, swap_channels=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(2048, 2048), keep_ratio=True)
train_dataloader = dict(
    batch_size=4,
    batch_sampler=None,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='IterBasedTrainLoop', max_iters=700, val_interval=700)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=4.0e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=700, eta_min=2.0e-5),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=700), logger=dict(interval=20))
log_processor = dict(by_epoch=False)
