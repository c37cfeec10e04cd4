# NanoDet-Plus-m (RangiLyu/nanodet): a ghost neck with a fourth level, priors on the corners of their cells, positives by an auxiliary head.
_base_ = './nanodet_m.py'

strides = [8, 16, 32, 64]
model = dict(
    type='NanoDetPlus',
    detach_epoch=10,
    neck=dict(type='GhostPAN', use_depthwise=True, kernel_size=5, num_extra_level=1),
    bbox_head=dict(
        type='NanoDetPlusHead',
        kernel_size=5,
        anchor_generator=dict(octave_base_scale=1, strides=strides, center_offset=0.0),
    ),
    # Twice the channels of the neck, since it sees the maps of two.
    aux_head=dict(
        type='NanoDetAuxHead',
        num_classes=80,
        in_channels=192,
        feat_channels=192,
        stacked_convs=4,
        reg_max=7,
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='DynamicSoftLabelAssigner', topk=13, iou_weight=3.0, soft_center_radius=None)
    ),
    test_cfg=dict(nms_pre=-1, nms_pre_rule='pairs'),
)
