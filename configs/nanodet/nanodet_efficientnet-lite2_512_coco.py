# NanoDet with EfficientNet-Lite2. Published: AP 32.6 on COCO val2017. The backbone's ImageNet weights are given as `init_cfg`.
_base_ = './nanodet_m_320_coco.py'

act_cfg = dict(type='ReLU6')
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(_delete_=True, type='EfficientNetLite', model_name='lite2', out_indices=(2, 4, 6)),
    neck=dict(in_channels=[48, 120, 352], out_channels=128),
    bbox_head=dict(
        in_channels=128,
        feat_channels=128,
        stacked_convs=4,
        reg_max=10,
        act_cfg=act_cfg,
        anchor_generator=dict(octave_base_scale=5),
    ),
)

image_size = (512, 512)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], scale=image_size, zoom=(0.5, 1.5))
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(test_pipeline[1], scale=image_size)
train_dataloader = dict(batch_size=60, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=135)
optim_wrapper = dict(optimizer=dict(lr=0.06))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=301),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=135, milestones=[90, 110, 120, 130], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=60)
