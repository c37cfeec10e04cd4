# DEIMv2-S fine-tuned on VisDrone-DET, with more queries. No mosaics: they would put four crowds before the queries of one.
_base_ = [
    '../_base_/models/deimv2_s.py',
    '../_base_/datasets/visdrone_detr.py',
    '../_base_/schedules/deim_132e.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
flat_epoch, stage2_epoch = 36, 64
train_cfg = dict(max_epochs=72)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], begin=flat_epoch, end=stage2_epoch, T_max=stage2_epoch - flat_epoch),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
