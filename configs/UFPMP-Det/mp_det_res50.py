# UFPMP-Det, second stage: MP-Det R50 on the mosaics that UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py makes.
_base_ = [
    '../_base_/models/mp_det_r50_fpn.py',
    '../_base_/datasets/visdrone_detection.py',
    '../_base_/datasets/ufpmp_albu.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
scale = (1333, 1333)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    {{_base_.albu}},  # on bytes; albu_original: the original's order, after normalisation
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=5,
        dataset=dict(
            type='VisDroneDataset',
            metainfo={{_base_.metainfo}},
            data_root={{_base_.data_root}},
            ann_file='annotations/VisDrone2019-DET-train-ufp.json',
            data_prefix=dict(img='VisDrone2019-DET-train-ufp/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            border_margin=10,
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/VisDrone2019-DET-val-ufp.json',
        data_prefix=dict(img='VisDrone2019-DET-val-ufp/'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
# AP on mosaics: it tells whether the training goes well, and is no result on VisDrone. That is what ufpmp_det_res50.py measures.
val_evaluator = dict(
    ann_file=_base_.data_root + 'annotations/VisDrone2019-DET-val-ufp.json', proposal_nums=(10, 100, 500)
)
test_evaluator = val_evaluator

default_hooks = dict(optimal_transport=dict(type='OptimalTransportHook', interval=2000, start_emb=2, end_estimating=8))

# --tta: the flip test.
tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=500))
