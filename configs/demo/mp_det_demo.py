# Second stage of the demo's UFPMP-Det: MP-Det on the mosaics that UFP_VisDrone2COCO.py makes with the first; its schedule is the first one's.
_base_ = './coarse_det_demo.py'
data_root = 'work_dirs/ufpmp_demo/mosaics/'
classes = ('pedestrian', 'car', 'van', 'truck', 'bus', 'motor')
scale = (576, 576)

model = dict(
    # It starts from what the first stage has learned.
    backbone=dict(
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='work_dirs/ufpmp_demo/coarse/epoch_6.pth',
            prefix='backbone.',
        )
    ),
    # Objects are large on mosaics: strides 8 to 64.
    neck=dict(start_level=1),
    bbox_head=dict(
        type='MPHead',
        num_words=50,
        proxies_list=[2, 5, 4, 8, 3, 3],
        anchor_generator=dict(strides=[8, 16, 32, 64]),
    ),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=scale, ratio_range=(0.85, 1.2), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(320, 320), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
dataset = dict(
    _delete_=True,
    type='CocoDataset',
    metainfo=dict(classes=classes),
    data_root=data_root,
)
train_dataloader = dict(
    dataset=dict(
        ann_file='train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=False, min_size=32),
        pipeline=train_pipeline,
        **dataset,
    )
)
val_dataloader = dict(
    dataset=dict(ann_file='val.json', data_prefix=dict(img='val/'), test_mode=True, pipeline=test_pipeline, **dataset)
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator

default_hooks = dict(
    # Shares are estimated twice, and the regularisers act in the second half.
    optimal_transport=dict(type='OptimalTransportHook', interval=150, start_emb=3, end_estimating=4),
)
