# 73 epochs from scratch, learning rate x0.1 after epochs 65 and 71; for 16 images an iteration (8 GPUs x 2), 7330 of which are an epoch.
_base_ = './schedule_1x.py'

max_epochs = 73
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=7330),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[65, 71], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001))
