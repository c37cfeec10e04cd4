# UFPMP-Det on VisDrone with one D-FINE-S as both stages, trained as dfine_s_mosaics.py, whose checkpoint serves as well.
# From ustc-community/dfine-small-coco (Apache-2.0) by model.coarse.detector.model.from_pretrained=FOLDER.
_base_ = './dfine_s_mosaics.py'

model = dict(
    _delete_=True,
    type='UFPMPDet',
    coarse=dict(
        detector=_base_.model,
        scale=_base_.scale,
        flip=False,
        # Regions are made of all that is found, and every query answers, most of them with next to no score.
        test_cfg=dict(score_thr=0.2),
    ),
    fine=dict(scale=_base_.mosaic_scale, flip=False),
    ufp=_base_.ufp,
    nms=dict(type='nms', iou_threshold=0.7),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
