# VisDrone as the stages of UFPMP-Det are trained on it: UFPMP-Det's augmentation, every image five times an epoch.
_base_ = ['./visdrone_detection.py', './ufpmp_albu.py']

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    {{_base_.albu}},  # on bytes; albu_original: the original's order, after normalisation
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=5,
        dataset=dict(
            type='VisDroneDataset',
            metainfo={{_base_.metainfo}},
            data_root={{_base_.data_root}},
            ann_file='annotations/VisDrone2019-DET-train.json',
            data_prefix=dict(img='VisDrone2019-DET-train/images/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            border_margin=10,
            pipeline=train_pipeline,
        ),
    ),
)
val_evaluator = dict(proposal_nums=(10, 100, 500))
test_evaluator = val_evaluator
