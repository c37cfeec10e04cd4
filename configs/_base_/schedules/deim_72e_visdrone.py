# deim_132e.py on VisDrone-DET, with its images: 72 epochs, the last 8 without strong augmentation. No mosaics: they would put four crowds before the
# queries of one.
_base_ = ['./deim_132e.py', '../datasets/visdrone_detr.py', '../default_runtime.py']

max_epochs, flat_epoch, stage2_epoch = 72, 36, 64
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], begin=flat_epoch, end=stage2_epoch, T_max=stage2_epoch - flat_epoch),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
