# MAE-DET-S under GFLV2, from scratch. Published: 45.1 box AP on COCO val2017; backbone 21.2 M parameters, 48.7 GFLOPs at 1280 x 800.
_base_ = [
    '../_base_/models/maedet_fpn.py',
    '../_base_/models/maedet_s_backbone.py',
    '../_base_/datasets/coco_detection_ms480-960.py',
    '../_base_/schedules/schedule_6x_maedet.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(structure=_base_.maedet_s.structure),
    neck=dict(out_channels=192),
    bbox_head=dict(in_channels=192, feat_channels=192),
)
