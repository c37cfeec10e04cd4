# VisDrone-DET for detectors with queries, in the ratio of the images: tiles and mosaics, in which such a detector serves as well, keep theirs, too.
# A crop of half to all of each side divides the crowd among the queries. No zoom-out: objects of 10 pixels would have 3.
_base_ = './visdrone_txt.py'

# 1024 x 576 and 1024 x 768 pixels, twice as many as the squares of COCO.
scale = (1024, 768)
last_steps = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
crop = dict(type='RandomCrop', crop_type='relative_range', crop_size=(0.5, 0.5), allow_negative_crop=True)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomApply', transforms=[crop], prob=0.8),
    *last_steps,
]
train_pipeline_stage2 = [*_base_.train_pipeline[:2], *last_steps]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
del last_steps, crop

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(filter_cfg=dict(filter_empty_gt=False, min_size=0), pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
