# The small GFL on blood cells, from scratch, on a CPU: docs/bccd.md has the commands and the figures.
_base_ = [
    '../_base_/models/gfl_small_fpn.py',
    '../_base_/datasets/bccd_detection.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]
model = dict(bbox_head=dict(num_classes=3))

# With 205 training images only, augmentation matters. Cells occur in every orientation, hence flips in all directions.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomResize', scale=[(288, 216), (416, 312)], keep_ratio=True),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(352, 264), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    # The same 205 images eight times make an epoch: evaluation and checkpoints cost less than the training between them.
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=8,
        dataset=dict(
            type='CocoDataset',
            metainfo={{_base_.metainfo}},
            data_root={{_base_.data_root}},
            ann_file='annotations/train.json',
            data_prefix=dict(img='JPEGImages/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=test_pipeline))

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs)]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2, save_best='coco/bbox_mAP_50'))
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, update_buffers=True)]
