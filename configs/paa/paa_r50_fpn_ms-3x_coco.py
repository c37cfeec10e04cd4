# 36 epochs; in training the short side is drawn from 640 to 800.
_base_ = './paa_r50_fpn_1x_coco.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=36)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=36, milestones=[28, 34])]
