# The demo's detector: a small GFL trained from scratch on synthetic drone scenes in a few CPU minutes.
_base_ = [
    '../_base_/models/gfl_small_fpn.py',
    '../_base_/datasets/drone_scenes.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(base_channels=24, stem_channels=24),
    # Most objects are 5 to 20 pixels wide: a level at stride 4, smaller priors than the published models', shorter distances.
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=48, start_level=0, num_outs=4),
    bbox_head=dict(
        num_classes=6,
        in_channels=48,
        feat_channels=48,
        stacked_convs=1,
        reg_max=8,
        norm_cfg=dict(type='GN', num_groups=12, requires_grad=True),
        anchor_generator=dict(octave_base_scale=4, strides=[4, 8, 16, 32]),
    ),
    test_cfg=dict(max_per_img=200),
)

# A training step on crops takes a third of the time of one on whole images, and sees as many scenes.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 360), ratio_range=(0.85, 1.2), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 224), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 360), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(proposal_nums=(100, 200, 300), max_dets=200, classwise=True)
test_evaluator = val_evaluator

max_epochs = 9
train_cfg = dict(max_epochs=max_epochs, val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=0.05, end=50),
    dict(_base_.param_scheduler[1], eta_min=2e-5, end=max_epochs, T_max=max_epochs),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=3, max_keep_ckpts=1))
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, gamma=100, update_buffers=True)]
log_processor = dict(window_size=20)
