# D-FINE-S. Published: AP 48.5 on COCO val2017, weights ustc-community/dfine-small-coco (Apache-2.0); docs/transformers.md.
_base_ = [
    '../_base_/models/dfine_s.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/dfine_132e.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(batch_augments=[_base_.multi_scale]))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=_base_.stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
