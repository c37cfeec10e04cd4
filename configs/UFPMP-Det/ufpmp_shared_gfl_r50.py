# UFPMP-Det on VisDrone with one GFL R50 as both stages, trained from the released files on whole images and on mosaics of their ground truth,
# made imperfect. Validation and test run both stages; model.look_below=0 runs the first one alone, on whole images.
_base_ = [
    '../_base_/models/gfl_r50_fpn.py',
    '../_base_/datasets/visdrone_txt.py',
    '../_base_/datasets/ufpmp_albu.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
# The same packing in training and at test time.
ufp = dict(scale=1.5, mode='exact', max_side=1333)
whole_scale, mosaic_scale = (1333, 800), (1333, 1333)

model = dict(
    _delete_=True,
    type='UFPMPDet',
    coarse=dict(
        detector=dict(
            _base_.model,
            bbox_head=dict(_base_.model.bbox_head, num_classes=10),
            test_cfg=dict(_base_.model.test_cfg, max_per_img=500),
        ),
        scale=whole_scale,
        # Class-agnostic: the clustering needs places, and one box for each.
        test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True)),
    ),
    # Without a detector of its own: the second stage is the first one's.
    fine=dict(scale=mosaic_scale),
    ufp=ufp,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='Resize', scale=whole_scale, keep_ratio=True)],
            [
                # tools/analysis_tools/coarse_errors.py measures these rates.
                dict(type='ForegroundMosaic', ufp=ufp, drop=0.15, shift=0.08, stretch=0.08, false_boxes=4),
                dict(type='Resize', scale=mosaic_scale, keep_ratio=True),
            ],
        ],
        prob=[0.5, 0.5],
    ),
    dict(type='RandomFlip', prob=0.5),
    _base_.albu,
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
images = dict(_base_.train_dataloader.dataset, border_margin=10, pipeline=train_pipeline)
del images['backend_args']
train_dataloader = dict(
    batch_size=4,
    batch_sampler=None,  # a mosaic has another shape than its image
    dataset=dict(_delete_=True, type='RepeatDataset', times=5, dataset=images),
)
del images
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(proposal_nums=(10, 100, 500))
test_evaluator = val_evaluator
