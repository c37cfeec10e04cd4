# The improved CenterNet, one stage, on the pyramid of FCOS; a ResNet-50 of detectron2.
_base_ = './fcos_r50-caffe_fpn.py'

model = dict(
    type='CenterNet',
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675]),
    backbone=dict(init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe')),
    neck=dict(init_cfg=dict(type='Caffe2Xavier', layer='Conv2d')),
    bbox_head=dict(
        _delete_=True,
        type='CenterNetUpdateHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        hm_min_radius=4,
        hm_min_overlap=0.8,
        more_pos_thresh=0.2,
        more_pos_topk=9,
        soft_weight_on_reg=False,
        loss_cls=dict(type='GaussianFocalLoss', pos_weight=0.25, neg_weight=0.75, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(_delete_=True),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
