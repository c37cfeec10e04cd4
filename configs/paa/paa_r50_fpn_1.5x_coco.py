_base_ = './paa_r50_fpn_1x_coco.py'

train_cfg = dict(max_epochs=18)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=18, milestones=[12, 16])]
