# GFL as published in its own repository, a branch of mmdetection 1.x.
_base_ = [
    '_base_/models/gfl_r50_fpn_v1.py',
    '_base_/datasets/coco_detection.py',
    '_base_/schedules/gfl_v1_1x.py',
    '_base_/default_runtime.py',
]
