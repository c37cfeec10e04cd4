# UFPMP-Det, first stage: GFL R50 on whole VisDrone images.
_base_ = [
    '../_base_/models/gfl_r50_fpn.py',
    '../_base_/datasets/visdrone_detection.py',
    '../_base_/datasets/ufpmp_albu.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
model = dict(
    bbox_head=dict(num_classes=10),
    # Class-agnostic: the clustering needs places, and one box for each.
    test_cfg=dict(nms=dict(class_agnostic=True), max_per_img=500),
)

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
    num_workers=2,
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
val_evaluator = dict(type='VisDroneMetric', proposal_nums=(10, 100, 500))
test_evaluator = val_evaluator

# --tta: the flip test.
tta_model = dict(
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True), max_per_img=500),
)
