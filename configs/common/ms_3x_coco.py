# COCO for three times twelve epochs: an epoch is three passes, and the short side is drawn from 640 to 800 for every image.
_base_ = [
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=3,
        dataset=dict(_base_.train_dataloader.dataset, pipeline=train_pipeline),
    ),
)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], milestones=[9, 11])]
