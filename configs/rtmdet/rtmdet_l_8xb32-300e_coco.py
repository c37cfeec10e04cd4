_base_ = [
    '../_base_/models/rtmdet_l.py',
    '../_base_/datasets/coco_rtmdet.py',
    '../_base_/schedules/rtmdet_300e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=_base_.interval, max_keep_ckpts=3))
custom_hooks = [
    # Before the checkpoint hook, so that the average is what is saved.
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49),
    dict(
        type='PipelineSwitchHook',
        switch_epoch=_base_.max_epochs - _base_.stage2_num_epochs,
        switch_pipeline=_base_.train_pipeline_stage2,
    ),
]
