# COCO as NanoDet sees it: one warp moves the image onto a canvas of the network's size. Other sizes replace its `scale`.
_base_ = './coco_detection.py'

image_size = (320, 320)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='WarpResize', scale=image_size, fit='centre', zoom=(0.6, 1.4), translate=0.2, flip=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=51,  # a fifth of the range
        contrast_range=(0.6, 1.4),
        saturation_range=(0.5, 1.2),
        hue_delta=0,
        contrast_first=True,
        swap_channels=False,
        to_float32=True,
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='WarpResize', scale=image_size, fit='centre'),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=192,
    num_workers=8,
    batch_sampler=None,  # images are of one size: no groups by shape
    pin_memory=True,
    dataset=dict(filter_cfg=dict(filter_empty_gt=False, min_size=1), pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
