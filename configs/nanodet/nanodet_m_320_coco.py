# NanoDet-m. Published: AP 20.6 on COCO val2017.
_base_ = [
    '../_base_/models/nanodet_m.py',
    '../_base_/datasets/coco_nanodet.py',
    '../_base_/schedules/nanodet_sgd.py',
    '../_base_/default_runtime.py',
]
