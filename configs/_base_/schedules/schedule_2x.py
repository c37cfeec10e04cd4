# 24 epochs, learning rate x0.1 after epochs 16 and 22; for 16 images an iteration (8 GPUs x 2).
_base_ = './schedule_1x.py'

train_cfg = dict(max_epochs=24)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24, milestones=[16, 22])]
