# dfine_132e.py on VisDrone-DET, with its images: 72 epochs, the last 8 without strong augmentation.
_base_ = ['./dfine_132e.py', '../datasets/visdrone_detr.py', '../default_runtime.py']

max_epochs, stage2_epoch = 72, 64
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=stage2_epoch, switch_pipeline=_base_.train_pipeline_stage2),
]
