_base_ = [
    '../_base_/models/yolox_l.py',
    '../_base_/datasets/coco_yolox.py',
    '../_base_/schedules/yolox_300e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=_base_.interval, max_keep_ckpts=3))
custom_hooks = [
    # Before the checkpoint hook, so that the average is what is saved; and the switch and the norms before the average.
    dict(type='YOLOXModeSwitchHook', num_last_epochs=_base_.num_last_epochs, priority=48),
    dict(type='SyncNormHook', priority=48),
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, update_buffers=True, priority=49),
]
