# VisDrone for training the stages of UFPMP-Det: UFPMP-Det's augmentation, every image five times an epoch. The augmentation runs on 8-bit
# images; with _base_.albu_original in place of _base_.albu it runs after normalisation, as in the original.
_base_ = ['./visdrone_detection.py', './ufpmp_albu.py']

train_pipeline = [dict(type='LoadImageFromFile'), *_base_.train_pipeline[1:4], _base_.albu, _base_.train_pipeline[4]]
images = dict(_base_.train_dataloader.dataset, border_margin=10, pipeline=train_pipeline)
del images['backend_args']
train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='RepeatDataset', times=5, dataset=images))
del images
val_evaluator = dict(proposal_nums=(10, 100, 500))
test_evaluator = val_evaluator
