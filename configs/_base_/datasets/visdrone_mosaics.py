# The mosaics that UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py makes of VisDrone, for UFPMP-Det's second stage.
_base_ = './visdrone_ufpmp.py'
scale = (1333, 1333)

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.train_pipeline[3:],
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            ann_file='annotations/VisDrone2019-DET-train-ufp.json',
            data_prefix=dict(img='VisDrone2019-DET-train-ufp/'),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/VisDrone2019-DET-val-ufp.json',
        data_prefix=dict(img='VisDrone2019-DET-val-ufp/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# AP on mosaics: it tells whether the training goes well, and is no result on VisDrone. That is what ufpmp_det_res50.py measures.
val_evaluator = dict(ann_file=_base_.data_root + 'annotations/VisDrone2019-DET-val-ufp.json')
test_evaluator = val_evaluator
