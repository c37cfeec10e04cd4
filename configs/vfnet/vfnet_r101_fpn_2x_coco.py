_base_ = [
    '../_base_/models/vfnet_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/vfnet_2x.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
