_base_ = './fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=64,
        base_width=4,
        norm_cfg=dict(requires_grad=True),
        style='pytorch',
        init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'),
    ),
)
