# MAE-DET-M under GFLV2, from scratch. Published: 46.9 box AP on COCO val2017; backbone 25.8 M parameters, 89.9 GFLOPs at 1280 x 800.
_base_ = [
    '../_base_/models/maedet_fpn.py',
    '../_base_/datasets/coco_detection_ms480-960.py',
    '../_base_/schedules/schedule_6x_maedet.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        structure=[
            {'class': 'ConvKXBNRELU', 'in': 3, 'out': 64, 'k': 3, 's': 2},
            {'class': 'SuperResK1KXK1', 'in': 64, 'out': 120, 'k': 3, 's': 2, 'L': 2, 'btn': 64},
            {'class': 'SuperResK1KXK1', 'in': 120, 'out': 512, 'k': 5, 's': 2, 'L': 10, 'btn': 72},
            {'class': 'SuperResK1KXK1', 'in': 512, 'out': 1632, 'k': 5, 's': 2, 'L': 10, 'btn': 112},
            {'class': 'SuperResK1KXK1', 'in': 1632, 'out': 2048, 'k': 5, 's': 2, 'L': 8, 'btn': 184},
        ],
    ),
)
