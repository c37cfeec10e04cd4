_base_ = [
    '../_base_/models/tood_r50_fpn.py',
    '../_base_/datasets/coco_detection_ms480-800.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=0.01))
