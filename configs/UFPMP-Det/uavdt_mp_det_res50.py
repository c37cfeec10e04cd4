# UFPMP-Det, second stage: MP-Det R50 on the mosaics that UFPMP-Det-Tools/build_dataset/UFP_UAVDT2COCO.py makes.
_base_ = [
    '../_base_/models/mp_det_r50_fpn.py',
    '../_base_/datasets/uavdt_detection.py',
    '../_base_/datasets/ufpmp_albu.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
# beta 1: the published file; the author's later branch, probably nearer to his results, has 0.
model = dict(bbox_head=dict(num_classes=3, proxies_list=[4, 4, 4], beta=1))
scale = (540, 540)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    {{_base_.albu}},
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=3,
        dataset=dict(
            type='UAVDTDataset',
            metainfo={{_base_.metainfo}},
            data_root={{_base_.data_root}},
            ann_file='annotations/UAVDT-train-ufp.json',
            data_prefix=dict(img='UAV-benchmark-M-ufp/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            border_margin=10,
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/UAVDT-test-ufp.json',
        data_prefix=dict(img='UAV-benchmark-M-ufp/'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=_base_.data_root + 'annotations/UAVDT-test-ufp.json', proposal_nums=(10, 100, 500), max_dets=500
)
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=8)

default_hooks = dict(optimal_transport=dict(type='OptimalTransportHook', interval=2000, start_emb=2, end_estimating=8))

# --tta: the flip test.
tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=500))
