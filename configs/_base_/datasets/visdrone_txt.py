# VisDrone-DET from the released txt annotations, without any conversion.
_base_ = './visdrone_detection.py'

train_dataloader = dict(dataset=dict(ann_file='VisDrone2019-DET-train/annotations/'))
val_dataloader = dict(dataset=dict(ann_file='VisDrone2019-DET-val/annotations/'))
test_dataloader = val_dataloader
# The benchmark's own rules and COCO's, side by side.
val_evaluator = dict(
    _delete_=True,
    type='VisDroneMetric',
    ann_file=_base_.data_root + 'VisDrone2019-DET-val/annotations/',
)
test_evaluator = val_evaluator
