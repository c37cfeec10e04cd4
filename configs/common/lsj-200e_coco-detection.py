# COCO with jitter of the scale from a tenth to twice 1024 pixels, cut or padded to 1024 x 1024; 25 epochs of eight passes each.
_base_ = [
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

image_size = (1024, 1024)
# After the normalisation: pads to the size that no crop exceeds. For the model's preprocessor.
batch_augments = [dict(type='BatchFixedSizePad', size=image_size)]

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute_range',
        crop_size=image_size,
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=8,
        dataset=dict(_base_.train_dataloader.dataset, pipeline=train_pipeline),
    ),
)

train_cfg = dict(max_epochs=25)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.067, by_epoch=False, begin=0, end=1000),
    dict(_base_.param_scheduler[1], end=25, milestones=[22, 24]),
]
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.00004))
# Eight images on each of eight devices.
auto_scale_lr = dict(base_batch_size=64)
