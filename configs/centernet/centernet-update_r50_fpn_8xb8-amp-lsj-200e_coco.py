# The improved CenterNet on the backbone of torchvision, in mixed precision, with large-scale jitter.
_base_ = ['../_base_/models/centernet_update_r50-caffe_fpn.py', '../common/lsj-200e_coco-detection.py']

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        batch_augments=_base_.batch_augments,
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=True),
        style='pytorch',
        init_cfg=dict(checkpoint='torchvision://resnet50'),
    ),
)

train_dataloader = dict(batch_size=8, num_workers=4)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.04), paramwise_cfg=dict(norm_decay_mult=0.0))
