# MP-Det with a small network, after coarse_det_small.py: for a CPU.
_base_ = [
    '../_base_/models/gfl_small_fpn.py',
    '../_base_/datasets/visdrone_mosaics.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # Where the large ones start from ImageNet, this starts from what the coarse detector has learnt: train coarse_det_small.py first.
    backbone=dict(
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='work_dirs/coarse_det_small/epoch_6.pth',
            prefix='backbone.',
        ),
    ),
    bbox_head=dict(
        type='MPHead',
        num_classes=10,
        stacked_convs=1,
        num_words=50,
        beta=0,
        gamma=10,
        proxies_list=[2, 3, 2, 5, 4, 8, 8, 4, 3, 3],
    ),
    test_cfg=dict(max_per_img=500),
)
scale = (1000, 1000)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(416, 416), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(num_workers=1, dataset=dict(times=12, dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

auto_scale_lr = dict(enable=False, base_batch_size=4)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2),
    optimal_transport=dict(type='OptimalTransportHook', interval=200, start_emb=2, end_estimating=8),
)
# --tta: the flip test.
tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=500))
