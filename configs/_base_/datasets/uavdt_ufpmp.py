# UAVDT as the stages of UFPMP-Det are trained on it: UFPMP-Det's augmentation, every frame three times an epoch.
_base_ = ['./uavdt_detection.py', './ufpmp_albu.py']

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1024, 540), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    {{_base_.albu}},
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=3,
        dataset=dict(
            type='UAVDTDataset',
            metainfo={{_base_.metainfo}},
            data_root={{_base_.data_root}},
            ann_file='annotations/UAVDT-train.json',
            data_prefix=dict(img='UAV-benchmark-M/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            border_margin=10,
            pipeline=train_pipeline,
        ),
    ),
)
val_evaluator = dict(proposal_nums=(10, 100, 500), max_dets=500)
test_evaluator = val_evaluator
