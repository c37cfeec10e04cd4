# UFPMP-Det on VisDrone with one NanoDet-g as both stages: nanodet_g_visdrone.py with mosaics of the ground truth, made imperfect, among its training
# images. Small enough for a CPU; load_from names COCO's weights:
#   python tools/train.py configs/UFPMP-Det/ufpmp_shared_nanodet_g.py --cfg-options load_from=FILE
_base_ = '../nanodet/nanodet_g_visdrone.py'
# The same packing in training and at test time.
ufp = dict(scale=1.5, mode='exact')

model = dict(
    _delete_=True,
    type='UFPMPDet',
    coarse=dict(
        detector=_base_.model,
        scale=(832, 832),
        flip=False,
        # Class-agnostic: the clustering needs places, and one box for each.
        test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True)),
    ),
    fine=dict(scale=(1333, 1333)),
    ufp=ufp,
)

load, annotations, whole, *rest = _base_.train_pipeline
train_pipeline = [
    load,
    annotations,
    dict(
        type='RandomChoice',
        transforms=[
            [dict(whole, scales=[(side, side) for side in (1000, 1333, 1824, 2400)])],
            [
                # tools/analysis_tools/coarse_errors.py measures these rates.
                dict(type='ForegroundMosaic', ufp=ufp, drop=0.15, shift=0.08, stretch=0.08, false_boxes=4),
                dict(whole, scales=[(side, side) for side in (832, 1000, 1333, 1824)]),
            ],
        ],
        prob=[0.5, 0.5],
    ),
    *rest,
]
del load, annotations, whole, rest
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
