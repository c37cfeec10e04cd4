# MAE-DET-L under GFLV2, from scratch. Published: 47.8 box AP on COCO val2017; backbone 43.9 M parameters, 152.9 GFLOPs at 1280 x 800.
_base_ = [
    '../_base_/models/maedet_fpn.py',
    '../_base_/datasets/coco_detection_ms480-960.py',
    '../_base_/schedules/schedule_6x_maedet.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        structure=[
            {'class': 'ConvKXBNRELU', 'in': 3, 'out': 80, 'k': 3, 's': 2},
            {'class': 'SuperResK1KXK1', 'in': 80, 'out': 144, 'k': 3, 's': 2, 'L': 2, 'btn': 80},
            {'class': 'SuperResK1KXK1', 'in': 144, 'out': 608, 'k': 5, 's': 2, 'L': 12, 'btn': 88},
            {'class': 'SuperResK1KXK1', 'in': 608, 'out': 1912, 'k': 5, 's': 2, 'L': 12, 'btn': 136},
            {'class': 'SuperResK1KXK1', 'in': 1912, 'out': 2400, 'k': 5, 's': 2, 'L': 10, 'btn': 220},
        ],
    ),
)
