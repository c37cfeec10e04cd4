# DEIMv2-S. Published: AP 50.9 on COCO val2017. No file of it is in the library's layout; docs/transformers.md, also for the licence of its backbone.
_base_ = [
    '../_base_/models/deimv2_s.py',
    '../_base_/datasets/coco_deim.py',
    '../_base_/schedules/deim_132e.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(batch_augments=[_base_.multi_scale]))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=_base_.mixed_epoch, switch_pipeline=_base_.train_pipeline_mixed),
    dict(type='PipelineSwitchHook', switch_epoch=_base_.flat_epoch, switch_pipeline=_base_.train_pipeline),
    dict(type='PipelineSwitchHook', switch_epoch=_base_.stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
