# The small GFL with a stride-4 level on VisDrone-DET, trained from scratch on crops: for a CPU, and for small parts of the data set.
_base_ = [
    '../_base_/models/gfl_small_fpn.py',
    '../_base_/datasets/visdrone_txt.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]

model = dict(
    neck=dict(start_level=0),
    bbox_head=dict(
        num_classes=10,
        stacked_convs=1,
        anchor_generator=dict(octave_base_scale=4, strides=[4, 8, 16, 32, 64]),
    ),
    test_cfg=dict(max_per_img=500),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomResize', scale=[(768, 432), (1344, 756)], keep_ratio=True),
    dict(type='RandomCrop', crop_size=(416, 320), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1056, 594), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=6,
        dataset=dict(
            type='VisDroneDataset',
            data_root={{_base_.data_root}},
            ann_file='VisDrone2019-DET-train/annotations/',
            data_prefix=dict(img='VisDrone2019-DET-train/images/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.005, gamma=200, update_buffers=True)]
