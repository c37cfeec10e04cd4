# RT-DETRv2-S, one size of images. Published: AP 48.1 on COCO val2017, weights PekingU/rtdetr_v2_r18vd (Apache-2.0); docs/transformers.md.
# Its loss in the library is the published one, layer by layer: the choice for a training from scratch.
_base_ = [
    '../_base_/models/rtdetrv2_r18vd.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/dfine_132e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4)
train_cfg = dict(max_epochs=120)
# One rate for all; norms are not decayed.
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=5e-4, end=2000)]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    dict(_base_.ema, gamma=2000),
    dict(type='PipelineSwitchHook', switch_epoch=117, switch_pipeline=_base_.train_pipeline_stage2),
]
auto_scale_lr = dict(base_batch_size=16)
