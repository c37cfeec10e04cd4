# NanoDet-m with half of the channels in the backbone. Published: AP 13.5 on COCO val2017.
_base_ = './nanodet_m_320_coco.py'

model = dict(
    backbone=dict(
        model_size='0.5x',
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/shufflenetv2_x0.5-f707e7126e.pth'),
    ),
    neck=dict(in_channels=[48, 96, 192]),
)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], zoom=(0.5, 1.5))
train_dataloader = dict(batch_size=96, dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=180)
optim_wrapper = dict(optimizer=dict(lr=0.07))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=1001),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=180, milestones=[130, 160, 175], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=96)
