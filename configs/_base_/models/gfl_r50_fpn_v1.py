# GFL with the conventions of its own repository (mmdetection 1.x), for the checkpoints published there: priors centred
# at (stride - 1) / 2, and boxes whose corners are inclusive pixels.
_base_ = './gfl_r50_fpn.py'

model = dict(
    bbox_head=dict(
        legacy=True,
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5),
        loss_bbox=dict(offset=1),
    ),
    train_cfg=dict(assigner=dict(iou_calculator=dict(type='BboxOverlaps2D', offset=1))),
    test_cfg=dict(nms_pre_rule='priors'),
)
