# RF-DETR-S at 512 pixels. Published: AP 53.0 on COCO val2017, weights Roboflow/rf-detr-small (Apache-2.0); docs/transformers.md.
_base_ = [
    '../_base_/models/rf_detr_s.py',
    '../_base_/datasets/coco_rf_detr.py',
    '../_base_/schedules/rf_detr_100e.py',
    '../_base_/default_runtime.py',
]
image_size = (512, 512)
model = dict(data_preprocessor=dict(batch_augments=[dict(_base_.multi_scale, random_size_range=(416, 608))]))
train_pipeline = [*_base_.train_pipeline]
train_pipeline[4] = dict(train_pipeline[4], scale=image_size)
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(test_pipeline[1], scale=image_size)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [_base_.ema]
