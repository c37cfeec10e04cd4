# RF-DETR-N at 384 pixels. Published: AP 48.4 on COCO val2017, weights Roboflow/rf-detr-nano (Apache-2.0); docs/transformers.md.
_base_ = [
    '../_base_/models/rf_detr_n.py',
    '../_base_/datasets/coco_rf_detr.py',
    '../_base_/schedules/rf_detr_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(batch_augments=[dict(_base_.multi_scale, random_size_range=(288, 480))]))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [_base_.ema]
