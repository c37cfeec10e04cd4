# A ResNet-101 learns from one with deformable convolutions, over 24 epochs with a short side of 480 to 800.
_base_ = './ld_r18-gflv1-r101_fpn_1x_coco.py'
teacher_ckpt = (
    'https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_dconv_c3-c5_mstrain_2x_coco/'
    'gfl_r101_fpn_dconv_c3-c5_mstrain_2x_coco_20200630_102002-134b07df.pth'
)

model = dict(
    teacher_config='configs/gfl/gfl_r101-dconv-c3-c5_fpn_ms-2x_coco.py',
    teacher_ckpt=teacher_ckpt,
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
train_cfg = dict(max_epochs=24)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24, milestones=[16, 22])]
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=[(1333, 480), (1333, 800)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
