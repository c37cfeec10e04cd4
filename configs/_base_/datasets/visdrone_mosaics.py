# The mosaics that UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py makes of VisDrone, for UFPMP-Det's second stage.
_base_ = './visdrone_ufpmp.py'
scale = (1333, 1333)

resize = dict(type='Resize', scale=scale, keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[3:]]
test_pipeline = [dict(type='LoadImageFromFile'), resize, *_base_.test_pipeline[2:]]
del resize
train_split = dict(
    ann_file='annotations/VisDrone2019-DET-train-ufp.json', data_prefix=dict(img='VisDrone2019-DET-train-ufp/')
)
val_split = dict(
    ann_file='annotations/VisDrone2019-DET-val-ufp.json', data_prefix=dict(img='VisDrone2019-DET-val-ufp/')
)
train_dataloader = dict(dataset=dict(dataset=dict(train_split, pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(val_split, pipeline=test_pipeline))
test_dataloader = val_dataloader
# AP on mosaics shows whether the training goes well; it is not a result on VisDrone. ufpmp_det_res50.py measures that.
val_evaluator = dict(ann_file=_base_.data_root + val_split['ann_file'])
test_evaluator = val_evaluator
del train_split, val_split
