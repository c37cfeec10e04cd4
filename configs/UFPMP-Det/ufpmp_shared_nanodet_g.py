# UFPMP-Det on VisDrone with one NanoDet-g as both stages, fine-tuned from its COCO weights on crops of whole images and of mosaics of their ground
# truth, made imperfect. Small enough for a CPU; the weights are given by load_from=FILE.
_base_ = [
    '../_base_/datasets/visdrone_txt.py',
    '../_base_/default_runtime.py',
]

from mmdet.config import stage_config
from mmdet.datasets import CocoDataset

# The same packing in training and at test time.
ufp = dict(scale=1.5, mode='exact')
max_iters = 700

nanodet = stage_config('{{fileDirname}}/../nanodet/nanodet_g_416_coco.py').detector
nanodet.pop('init_cfg')
# The published weights have their batch norms folded, and a crop more or less is no statistic: without them.
nanodet.backbone.norm_cfg = None
nanodet.bbox_head.update(norm_cfg=None, num_classes=10)
nanodet.train_cfg = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False)
nanodet.test_cfg.update(max_per_img=500)

model = dict(
    type='UFPMPDet',
    coarse=dict(
        detector=nanodet,
        scale=(832, 832),
        flip=False,
        # Class-agnostic: the clustering needs places, and one box for each.
        test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True)),
    ),
    fine=dict(scale=(1333, 1333)),
    ufp=ufp,
)

map_classes = dict(
    trained=CocoDataset.METAINFO['classes'],
    rename={'pedestrian': 'person', 'people': 'person', 'van': 'car', 'motor': 'motorcycle'},
)
del CocoDataset, nanodet

crop = dict(type='RandomCrop', crop_size=(640, 640), allow_negative_crop=True)
whole = dict(type='RandomChoiceResize', scales=[(side, side) for side in (1000, 1333, 1824, 2400)], keep_ratio=True)
packed = dict(type='RandomChoiceResize', scales=[(side, side) for side in (832, 1000, 1333, 1824)], keep_ratio=True)
# tools/analysis_tools/coarse_errors.py measures these rates.
mosaic = dict(type='ForegroundMosaic', ufp=ufp, drop=0.15, shift=0.08, stretch=0.08, false_boxes=4)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoice', transforms=[[whole], [mosaic, packed]], prob=[0.5, 0.5]),
    crop,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
train_dataloader = dict(
    batch_size=4,
    batch_sampler=None,
    sampler=dict(_delete_=True, type='InfiniteSampler'),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(proposal_nums=(10, 100, 500))
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=4e-6, by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters), logger=dict(interval=50))
log_processor = dict(by_epoch=False)
