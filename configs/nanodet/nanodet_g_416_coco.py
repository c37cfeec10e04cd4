# NanoDet-g: plain 3x3 convolutions, for GPUs. Published: AP 22.9 on COCO val2017.
_base_ = [
    '../_base_/models/nanodet_g.py',
    '../_base_/datasets/coco_nanodet.py',
    '../_base_/schedules/nanodet_sgd.py',
    '../_base_/default_runtime.py',
]
image_size = (416, 416)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], scale=image_size)
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(test_pipeline[1], scale=image_size)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=190)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=190, milestones=[130, 160, 175, 185], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=128)
