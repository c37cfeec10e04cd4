# NanoDet with EfficientNet-Lite0. Published: AP 24.7 on COCO val2017. The backbone's ImageNet weights are given as `init_cfg`.
_base_ = './nanodet_m_320_coco.py'

act_cfg = dict(type='ReLU6')
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(_delete_=True, type='EfficientNetLite', model_name='lite0', out_indices=(2, 4, 6)),
    neck=dict(in_channels=[40, 112, 320], out_channels=96),
    bbox_head=dict(
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        reg_max=7,
        act_cfg=act_cfg,
        anchor_generator=dict(octave_base_scale=5),
    ),
)

image_size = (320, 320)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], scale=image_size, zoom=(0.6, 1.4))
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(test_pipeline[1], scale=image_size)
train_dataloader = dict(batch_size=150, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=190)
optim_wrapper = dict(optimizer=dict(lr=0.15))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=190, milestones=[140, 170, 180, 185], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=150)
