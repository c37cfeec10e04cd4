# The later version of FCOS (see the file without "lsj") on the backbone of torchvision, in mixed precision.
_base_ = ['../_base_/models/fcos_r50-caffe_fpn.py', '../common/lsj-200e_coco-detection.py']

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
    bbox_head=dict(
        norm_on_bbox=True,
        centerness_on_reg=True,
        dcn_on_last_conv=False,
        center_sampling=True,
        conv_bias=True,
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
    ),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)

train_dataloader = dict(batch_size=8, num_workers=4)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(lr=0.04),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
    clip_grad=None,
)
