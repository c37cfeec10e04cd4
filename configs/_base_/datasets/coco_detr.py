# COCO as RT-DETR, D-FINE and DEIM see it: squares of 640 pixels, whatever the ratio of the image. Strong augmentation, and the pipeline of the last epochs.
_base_ = './coco_detection.py'

image_size = (640, 640)
resize = dict(type='Resize', scale=image_size, keep_ratio=False)
large_enough = dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False)
last_steps = [dict(type='RandomFlip', prob=0.5), resize, large_enough, dict(type='PackDetInputs')]
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='PhotoMetricDistortion'),
    dict(type='Expand', mean=(0, 0, 0), ratio_range=(1, 4), prob=0.5),
    dict(type='RandomApply', transforms=[dict(type='MinIoURandomCrop')], prob=0.8),
    *last_steps,
]
train_pipeline_stage2 = [*_base_.train_pipeline[:2], *last_steps]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
del resize, large_enough, last_steps

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    batch_sampler=None,  # images are square: no groups by shape
    dataset=dict(filter_cfg=dict(filter_empty_gt=False, min_size=0), pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
