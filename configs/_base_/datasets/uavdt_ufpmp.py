# UAVDT for training the stages of UFPMP-Det: UFPMP-Det's augmentation, every frame three times an epoch.
_base_ = ['./uavdt_detection.py', './ufpmp_albu.py']

train_pipeline = [dict(type='LoadImageFromFile'), *_base_.train_pipeline[1:4], _base_.albu, _base_.train_pipeline[4]]
frames = dict(_base_.train_dataloader.dataset, border_margin=10, pipeline=train_pipeline)
del frames['backend_args']
train_dataloader = dict(batch_size=8, dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset=frames))
del frames
val_evaluator = dict(proposal_nums=(10, 100, 500), max_dets=500)
test_evaluator = val_evaluator
