# 24 epochs.
_base_ = './fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py'
train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(_base_.param_scheduler[1], end=24, milestones=[16, 22]),
]
