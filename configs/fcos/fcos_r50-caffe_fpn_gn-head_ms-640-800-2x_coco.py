# 24 epochs; in training the short side is 640 or 800.
_base_ = './fcos_r50-caffe_fpn_gn-head_1x_coco.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=24)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24, milestones=[16, 22])]
