_base_ = [
    '_base_/models/gfl_r50_fpn_v1.py',
    '_base_/datasets/coco_detection_ms480-800.py',
    '_base_/schedules/gfl_v1_2x.py',
    '_base_/default_runtime.py',
]
