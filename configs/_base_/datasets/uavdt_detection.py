# UAVDT: the frames in data/UAVDT/UAV-benchmark-M/, COCO JSON made by UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py
dataset_type = 'UAVDTDataset'
data_root = 'data/UAVDT/'
backend_args = None
metainfo = dict(classes=('car', 'truck', 'bus'))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1024, 540), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(1024, 540), keep_ratio=True),
    # After Resize: the ground truth stays in pixels of the original image.
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/UAVDT-train.json',
        data_prefix=dict(img='UAV-benchmark-M/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/UAVDT-test.json',
        data_prefix=dict(img='UAV-benchmark-M/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/UAVDT-test.json',
    metric='bbox',
    proposal_nums=(100, 300, 500),
    format_only=False,
    backend_args=backend_args,
)
test_evaluator = val_evaluator
