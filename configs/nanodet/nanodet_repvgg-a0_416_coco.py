# NanoDet with RepVGG-A0. Published: AP 27.8 on COCO val2017. The backbone's ImageNet weights are given as `init_cfg`.
_base_ = './nanodet_g_416_coco.py'

model = dict(
    backbone=dict(_delete_=True, type='RepVGG', arch='A0', out_indices=(2, 3, 4), last_channel=512),
    neck=dict(in_channels=[96, 192, 512]),
    bbox_head=dict(stacked_convs=2, act_cfg=dict(type='ReLU')),
)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], zoom=(0.5, 1.5))
train_dataloader = dict(batch_size=100, dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=170)
optim_wrapper = dict(optimizer=dict(lr=0.07))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=170, milestones=[130, 150, 160, 165], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=100)
