# 20 epochs, learning rate x0.1 after epochs 16 and 19; for 16 images an iteration (8 GPUs x 2).
_base_ = './schedule_1x.py'

train_cfg = dict(max_epochs=20)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=20, milestones=[16, 19])]
