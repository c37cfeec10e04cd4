# DEIMv2-N, one size of images. Published: AP 43.0 on COCO val2017; weights in the library's layout, by a contributor of it:
# harshaljanjani/DEIMv2_HGNetv2_N_COCO_Transformers; docs/transformers.md.
_base_ = [
    '../_base_/models/deimv2_n.py',
    '../_base_/datasets/coco_deim.py',
    '../_base_/schedules/deim_132e.py',
    '../_base_/default_runtime.py',
]
flat_epoch, stage2_epoch = 78, 148
train_cfg = dict(max_epochs=160)
optim_wrapper = dict(optimizer=dict(lr=8e-4), paramwise_cfg=dict(custom_keys=dict(_delete_=True, **_base_.hgnet_rates)))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], begin=flat_epoch, end=stage2_epoch, T_max=stage2_epoch - flat_epoch),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=_base_.mixed_epoch, switch_pipeline=_base_.train_pipeline_mixed),
    dict(type='PipelineSwitchHook', switch_epoch=flat_epoch, switch_pipeline=_base_.train_pipeline),
    dict(type='PipelineSwitchHook', switch_epoch=stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
