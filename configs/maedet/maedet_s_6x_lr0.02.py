# MAE-DET-S under GFLV2, from scratch. Published: 45.1 box AP on COCO val2017; backbone 21.2 M parameters, 48.7 GFLOPs at 1280 x 800.
_base_ = [
    '../_base_/models/maedet_fpn.py',
    '../_base_/datasets/coco_detection_ms480-960.py',
    '../_base_/schedules/schedule_6x_maedet.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        structure=[
            {'class': 'ConvKXBNRELU', 'in': 3, 'out': 32, 'k': 3, 's': 2},
            {'class': 'SuperResK1KXK1', 'in': 32, 'out': 48, 'k': 5, 's': 2, 'L': 2, 'btn': 32},
            {'class': 'SuperResK1KXK1', 'in': 48, 'out': 272, 'k': 3, 's': 2, 'L': 4, 'btn': 120},
            {'class': 'SuperResK1KXK1', 'in': 272, 'out': 1024, 'k': 5, 's': 2, 'L': 10, 'btn': 80},
            {'class': 'SuperResK1KXK1', 'in': 1024, 'out': 2048, 'k': 3, 's': 2, 'L': 10, 'btn': 240},
        ],
    ),
    neck=dict(out_channels=192),
    bbox_head=dict(in_channels=192, feat_channels=192),
)
