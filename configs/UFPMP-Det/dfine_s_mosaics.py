# D-FINE-S as a second stage of UFPMP-Det: dfine_s_visdrone.py with mosaics of the ground truth, made imperfect, among its training images. Validation
# is on whole images; ufpmp_dfine_s.py tests both stages. From ustc-community/dfine-small-coco (Apache-2.0), as dfine_s_visdrone.py says.
_base_ = '../transformers/dfine_s_visdrone.py'
# The same packing in training and at test time.
ufp = dict(scale=1.5, mode='exact', max_side=1333)
mosaic_scale = (1024, 1024)

load, annotations, colours, crop, flip, resize, *rest = _base_.train_pipeline
# tools/analysis_tools/coarse_errors.py measures these rates.
mosaic = dict(type='ForegroundMosaic', ufp=ufp, drop=0.15, shift=0.08, stretch=0.08, false_boxes=4)
resize_mosaic = dict(resize, scale=mosaic_scale)
train_pipeline = [
    load,
    annotations,
    colours,
    dict(type='RandomChoice', transforms=[[crop, resize], [mosaic, crop, resize_mosaic]], prob=[0.5, 0.5]),
    flip,
    *rest,
]
train_pipeline_stage2 = [
    load,
    annotations,
    dict(type='RandomChoice', transforms=[[resize], [mosaic, resize_mosaic]], prob=[0.5, 0.5]),
    flip,
    *rest,
]
del load, annotations, colours, crop, flip, resize, rest, mosaic, resize_mosaic
train_dataloader = dict(
    batch_sampler=None,  # a mosaic has another shape than its image
    dataset=dict(pipeline=train_pipeline),
)
custom_hooks = [_base_.custom_hooks[0], dict(_base_.custom_hooks[1], switch_pipeline=train_pipeline_stage2)]
