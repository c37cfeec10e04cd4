# D-FINE-N, one size of images. Published: AP 42.8 on COCO val2017, weights ustc-community/dfine-nano-coco (Apache-2.0); docs/transformers.md.
_base_ = [
    '../_base_/models/dfine_n.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/dfine_132e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=16)
train_cfg = dict(max_epochs=160)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=148, switch_pipeline=_base_.train_pipeline_stage2),
]
auto_scale_lr = dict(base_batch_size=128)
