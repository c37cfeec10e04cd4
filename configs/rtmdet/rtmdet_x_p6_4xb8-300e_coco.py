# A fourth level of stride 64, for squares of 1280 pixels; 32 images an iteration, at a rate in proportion.
_base_ = './rtmdet_x_8xb32-300e_coco.py'

model = dict(
    backbone=dict(arch='P6', out_indices=(2, 3, 4, 5)),
    neck=dict(in_channels=[320, 640, 960, 1280]),
    bbox_head=dict(anchor_generator=dict(strides=[8, 16, 32, 64])),
)

image_size = (1280, 1280)
sizes = dict(
    CachedMosaic=dict(img_scale=image_size),
    RandomCrop=dict(crop_size=image_size),
    Pad=dict(size=image_size),
    CachedMixUp=dict(img_scale=image_size),
    Resize=dict(scale=image_size),
)
train_pipeline = [dict(step, **sizes.get(step['type'], {})) for step in _base_.train_pipeline]
train_pipeline[3]['scale'] = (2560, 2560)
train_pipeline_stage2 = [dict(step, **sizes.get(step['type'], {})) for step in _base_.train_pipeline_stage2]
train_pipeline_stage2[2]['scale'] = image_size
test_pipeline = [dict(step, **sizes.get(step['type'], {})) for step in _base_.test_pipeline]
del sizes
train_dataloader = dict(batch_size=8, num_workers=20, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
custom_hooks = [_base_.custom_hooks[0], dict(_base_.custom_hooks[1], switch_pipeline=train_pipeline_stage2)]

base_lr = 0.004 * 32 / 256
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], eta_min=base_lr * 0.05)]
auto_scale_lr = dict(base_batch_size=32)
