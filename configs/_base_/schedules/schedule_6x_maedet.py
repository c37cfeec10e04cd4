# 73 epochs from scratch, learning rate x0.1 after epochs 65 and 71; for 16 images an iteration (8 GPUs x 2), 7330 of which are an epoch.
_base_ = './schedule_1x.py'

max_epochs = 73
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=0.1, end=7330),
    dict(_base_.param_scheduler[1], end=max_epochs, milestones=[65, 71]),
]
