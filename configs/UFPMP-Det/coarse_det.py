# UFPMP-Det, first stage: GFL R50 on whole VisDrone images.
_base_ = [
    '../_base_/models/gfl_r50_fpn.py',
    '../_base_/datasets/visdrone_ufpmp.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
model = dict(
    bbox_head=dict(num_classes=10),
    # Class-agnostic: the clustering needs places, and one box for each.
    test_cfg=dict(nms=dict(class_agnostic=True), max_per_img=500),
)
tta_model = dict(tta_cfg=dict(nms=dict(class_agnostic=True)))

val_evaluator = dict(type='VisDroneMetric')
test_evaluator = val_evaluator
