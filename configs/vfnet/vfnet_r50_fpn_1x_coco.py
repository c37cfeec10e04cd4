_base_ = [
    '../_base_/models/vfnet_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/vfnet_1x.py',
    '../_base_/default_runtime.py',
]
