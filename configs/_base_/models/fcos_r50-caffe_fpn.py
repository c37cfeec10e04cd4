# FCOS with a ResNet-50 of detectron: stride in the first convolution of a block, fixed norms, BGR images that are not divided.
_base_ = './gfl_r50_fpn.py'

model = dict(
    type='FCOS',
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(checkpoint='open-mmlab://detectron/resnet50_caffe'),
    ),
    neck=dict(relu_before_extra_convs=True),
    bbox_head=dict(
        _delete_=True,
        type='FCOSHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='IoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    # Points are matched by the head itself.
    train_cfg=dict(_delete_=True, allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms=dict(iou_threshold=0.5)),
)
