# NanoDet-Plus-m. Published: AP 27.0 on COCO val2017.
_base_ = [
    '../_base_/models/nanodet_plus_m.py',
    '../_base_/datasets/coco_nanodet.py',
    '../_base_/schedules/nanodet_adamw.py',
    '../_base_/default_runtime.py',
]
# Images are stretched to the square.
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], fit='stretch', stretch=(0.8, 1.2))
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(test_pipeline[1], fit='stretch')
train_dataloader = dict(batch_size=96, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# Before the checkpoint hook, so that the average is what is saved.
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49)]
