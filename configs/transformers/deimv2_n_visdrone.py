# DEIMv2-N fine-tuned on VisDrone-DET, as deimv2_s_visdrone.py. Without a level at stride 8 it is for tiles and mosaics rather than for whole images.
_base_ = [
    '../_base_/models/deimv2_n.py',
    '../_base_/datasets/visdrone_detr.py',
    '../_base_/schedules/deim_132e.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
flat_epoch, stage2_epoch = 36, 64
train_cfg = dict(max_epochs=72)
optim_wrapper = dict(optimizer=dict(lr=8e-4), paramwise_cfg=dict(custom_keys=dict(_delete_=True, **_base_.hgnet_rates)))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], begin=flat_epoch, end=stage2_epoch, T_max=stage2_epoch - flat_epoch),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
