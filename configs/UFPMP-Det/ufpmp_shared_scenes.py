# One small GFL as both stages of UFPMP-Det on synthetic drone scenes: the demo's first stage, trained on mosaics as well. For a CPU.
_base_ = '../demo/coarse_det_demo.py'
# The same packing in training and at test time.
ufp = dict(scale=1.5, mode='exact', max_side=576, min_score=0.2)
mosaic_scale = (576, 576)

model = dict(
    _delete_=True,
    type='UFPMPDet',
    coarse=dict(
        detector=_base_.model,
        scale=_base_.scale,
        flip=False,
        test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True)),
    ),
    fine=dict(scale=mosaic_scale),
    ufp=ufp,
)

crop = dict(type='RandomCrop', crop_size=(320, 256), allow_negative_crop=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomResize', scale=_base_.scale, ratio_range=(0.85, 1.3), keep_ratio=True)],
            [
                dict(
                    type='ForegroundMosaic',
                    ufp=ufp,
                    # What tools/analysis_tools/coarse_errors.py says about the demo's coarse detector.
                    drop=(0.127, 0.02, 0.0),
                    shift=0.172,
                    stretch=0.282,
                    false_boxes=(28, 162),
                    true_scores=(0.229, 0.606),
                    false_scores=(0.103, 0.273),
                ),
                dict(type='RandomResize', scale=mosaic_scale, ratio_range=(0.85, 1.2), keep_ratio=True),
            ],
        ],
        prob=[0.5, 0.5],
    ),
    crop,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
train_dataloader = dict(batch_sampler=None, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='VisDroneMetric', ann_file=_base_.val_evaluator.ann_file)
test_evaluator = val_evaluator
