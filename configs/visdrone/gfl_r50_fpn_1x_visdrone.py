# GFL R50 on VisDrone-DET, from the released txt annotations; up to 500 detections an image, as that benchmark counts.
_base_ = [
    '../_base_/models/gfl_r50_fpn.py',
    '../_base_/datasets/visdrone_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
model = dict(bbox_head=dict(num_classes=10), test_cfg=dict(max_per_img=500))
train_dataloader = dict(dataset=dict(ann_file='VisDrone2019-DET-train/annotations/'))
val_dataloader = dict(dataset=dict(ann_file='VisDrone2019-DET-val/annotations/'))
test_dataloader = val_dataloader
# The benchmark's own rules and COCO's, side by side.
val_evaluator = dict(
    _delete_=True,
    type='VisDroneMetric',
    ann_file='data/VisDrone2019-DET/VisDrone2019-DET-val/annotations/',
)
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=0.01))
