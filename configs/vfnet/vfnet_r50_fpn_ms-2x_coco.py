_base_ = [
    '../_base_/models/vfnet_r50_fpn.py',
    '../_base_/datasets/coco_detection_ms480-960.py',
    '../_base_/schedules/vfnet_2x.py',
    '../_base_/default_runtime.py',
]
