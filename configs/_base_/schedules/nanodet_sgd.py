# NanoDet v0.x on one GPU: SGD, and steps near the end. Each config gives its rate, its epochs and their milestones.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=280, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.14, momentum=0.9, weight_decay=0.0001))
param_scheduler = [
    # The rate is full at step 300, and begins as this share of it.
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=301),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=280, milestones=[240, 260, 275], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=192)
