# COCO 2017; in training the short side is drawn from 480 to 960 for every image.
_base_ = './coco_detection.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=[(1333, 480), (1333, 960)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
