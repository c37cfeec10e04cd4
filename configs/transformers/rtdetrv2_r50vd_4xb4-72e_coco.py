# RT-DETRv2-L. Published: AP 53.4 on COCO val2017, weights PekingU/rtdetr_v2_r50vd (Apache-2.0); docs/transformers.md. The published recipe also
# freezes the backbone's stem and norms, which is for weights that have been loaded.
_base_ = [
    '../_base_/models/rtdetrv2_r50vd.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/dfine_132e.py',
    '../_base_/default_runtime.py',
]
stage2_epoch = 71
# Three batches in thirteen at 640 pixels: one in eleven is drawn from all sizes.
model = dict(
    data_preprocessor=dict(batch_augments=[dict(_base_.multi_scale, own_size_share=0.15, stop_epoch=stage2_epoch)])
)
train_dataloader = dict(batch_size=4)
train_cfg = dict(max_epochs=72)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1), normalization=dict(lr_mult=0.1))),
)
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=5e-4, end=2000)]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    dict(_base_.ema, gamma=2000),
    dict(type='PipelineSwitchHook', switch_epoch=stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
auto_scale_lr = dict(base_batch_size=16)
