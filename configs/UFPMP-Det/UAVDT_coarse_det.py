# UFPMP-Det, first stage: GFL R50 on whole UAVDT frames.
_base_ = [
    '../_base_/models/gfl_r50_fpn.py',
    '../_base_/datasets/uavdt_ufpmp.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
model = dict(
    bbox_head=dict(num_classes=3),
    test_cfg=dict(nms=dict(class_agnostic=True), max_per_img=500),
)
tta_model = dict(tta_cfg=dict(nms=dict(class_agnostic=True)))

auto_scale_lr = dict(base_batch_size=8)
