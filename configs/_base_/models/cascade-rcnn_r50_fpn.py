# Cascade R-CNN with a ResNet-50 and a feature pyramid: three box heads, trained towards overlaps of 0.5, 0.6 and 0.7.
_base_ = './faster-rcnn_r50_fpn.py'

_bbox_head = dict(
    type='Shared2FCBBoxHead',
    in_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)
_coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0])
_rcnn = _base_.model.train_cfg.rcnn

model = dict(
    type='CascadeRCNN',
    rpn_head=dict(loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)),
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(_bbox_head, bbox_coder=dict(_coder, target_stds=[0.1, 0.1, 0.2, 0.2])),
            dict(_bbox_head, bbox_coder=dict(_coder, target_stds=[0.05, 0.05, 0.1, 0.1])),
            dict(_bbox_head, bbox_coder=dict(_coder, target_stds=[0.033, 0.033, 0.067, 0.067])),
        ],
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
        rcnn=[
            dict(_rcnn, assigner=dict(_rcnn.assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)),
            dict(_rcnn, assigner=dict(_rcnn.assigner, pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6)),
            dict(_rcnn, assigner=dict(_rcnn.assigner, pos_iou_thr=0.7, neg_iou_thr=0.7, min_pos_iou=0.7)),
        ],
    ),
)
