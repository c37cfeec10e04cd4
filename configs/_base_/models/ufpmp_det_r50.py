# UFPMP-Det with two ResNet-50 stages, for testing: the models of configs/UFPMP-Det/{coarse_det,mp_det_res50}.py, both with the flip test.
# init_cfg of a stage's detector names the checkpoint of its own training. tools/test.py reads the file that
# tools/model_converters/join_ufpmp.py makes of the two instead.
coarse_checkpoint = 'work_dirs/coarse_det/epoch_12.pth'
fine_checkpoint = 'work_dirs/mp_det_res50/epoch_12.pth'

preprocessor = dict(
    type='DetDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_size_divisor=32,
)
backbone = dict(
    type='ResNet',
    depth=50,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    frozen_stages=1,
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=True,
    style='pytorch',
)
neck = dict(
    type='FPN',
    in_channels=[256, 512, 1024, 2048],
    out_channels=256,
    start_level=1,
    add_extra_convs='on_output',
    num_outs=5,
)
head = dict(
    num_classes=10,
    in_channels=256,
    stacked_convs=4,
    feat_channels=256,
    anchor_generator=dict(
        type='AnchorGenerator',
        ratios=[1.0],
        octave_base_scale=8,
        scales_per_octave=1,
        strides=[8, 16, 32, 64, 128],
    ),
    loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
    loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
    reg_max=16,
    loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
)
model = dict(
    type='UFPMPDet',
    coarse=dict(
        detector=dict(
            type='GFL',
            data_preprocessor=preprocessor,
            backbone=backbone,
            neck=neck,
            bbox_head=dict(type='GFLHead', **head),
            test_cfg=dict(
                nms_pre=1000,
                min_bbox_size=0,
                score_thr=0.05,
                nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True),
                max_per_img=500,
            ),
            init_cfg=dict(type='Pretrained', checkpoint=coarse_checkpoint),
        ),
        scale=(1333, 800),
        flip=True,
    ),
    fine=dict(
        detector=dict(
            type='GFL',
            data_preprocessor=preprocessor,
            backbone=backbone,
            neck=neck,
            bbox_head=dict(
                type='MPHead',
                num_words=200,
                beta=0,
                gamma=10,
                proxies_list=[2, 3, 2, 5, 4, 8, 8, 4, 3, 3],
                **head,
            ),
            test_cfg=dict(
                nms_pre=1000,
                min_bbox_size=0,
                score_thr=0.05,
                nms=dict(type='nms', iou_threshold=0.6),
                max_per_img=500,
            ),
            init_cfg=dict(type='Pretrained', checkpoint=fine_checkpoint),
        ),
        scale=(1333, 1333),
        flip=True,
    ),
    # Boxes enlarged by half, one greedy pass, the guillotine packing: the original's mosaics, which MP-Det was trained on.
    ufp=dict(scale=1.5, mode='reference', packing='guillotine'),
    nms=dict(type='nms', iou_threshold=0.6, offset=1),
    max_per_img=500,
    min_overlap=0.9,
    coarse_weight=0.0,
    on_empty='skip',
)
