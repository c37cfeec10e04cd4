# NanoDet-m of v0.x (RangiLyu/nanodet). The other models replace the backbone and widths.
model = dict(
    type='NanoDet',
    # Images stay BGR, as do mean and std. The neck halves maps, so that the images' sides must be multiples of its coarsest stride.
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ShuffleNetV2',
        model_size='1.0x',
        out_indices=(2, 3, 4),
        init_cfg=dict(
            type='Pretrained', checkpoint='https://download.pytorch.org/models/shufflenetv2_x1-5666bf0f80.pth'
        ),
    ),
    neck=dict(type='PAN', in_channels=[116, 232, 464], out_channels=96),
    bbox_head=dict(
        type='NanoDetHead',
        num_classes=80,
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        share_cls_reg=True,
        use_depthwise=True,
        reg_max=7,
        # The anchors lie on the middle of their cells; they are as wide as five strides.
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=5,
            scales_per_octave=1,
            strides=[8, 16, 32],
            center_offset=0.5,
        ),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=1000,
        nms_pre_rule='priors',
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
    ),
)
