_base_ = [
    '../_base_/models/fcos_r50-caffe_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/fcos_1x.py',
    '../_base_/default_runtime.py',
]
