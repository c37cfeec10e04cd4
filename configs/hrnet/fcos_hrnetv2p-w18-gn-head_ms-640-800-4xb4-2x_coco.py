# 24 epochs; in training the short side is 640 or 800.
_base_ = './fcos_hrnetv2p-w18-gn-head_4xb4-2x_coco.py'
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
