# Synthetic drone scenes (docs/drone_scenes.md): generated under data_root on first use.
_base_ = './detection.py'
dataset_type = 'DroneScenesDataset'
data_root = 'data/drone_scenes/'
generate = dict(num_train=400, num_val=80, seed=0)  # must be the same for both splits

resize = dict(type='Resize', scale=(480, 270), keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
del resize
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/images/'),
        generate=generate,
        # Images without objects are kept: they are negative examples.
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/images/'),
        generate=generate,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
