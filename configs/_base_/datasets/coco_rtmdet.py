# COCO as RTMDet sees it: squares of 640 pixels, padded by grey; for training, mosaics of four images and mixtures of two, whose partners come
# from a cache of recent images. Stage 2, without both, is for the last epochs.
_base_ = './coco_detection.py'

image_size = (640, 640)
square = dict(type='Pad', size=image_size, pad_val=dict(img=(114, 114, 114)))
augmentation = [
    dict(type='RandomResize', scale=(1280, 1280), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    square,
]
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='CachedMosaic', img_scale=image_size, pad_val=114.0),
    *augmentation,
    dict(
        type='CachedMixUp', img_scale=image_size, ratio_range=(1.0, 1.0), max_cached_images=20, pad_val=(114, 114, 114)
    ),
    dict(type='PackDetInputs'),
]
train_pipeline_stage2 = [
    *_base_.train_pipeline[:2],
    dict(augmentation[0], scale=image_size),
    *augmentation[1:],
    dict(type='PackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=image_size, keep_ratio=True),
    square,
    *_base_.test_pipeline[2:],
]
del square, augmentation

train_dataloader = dict(
    batch_size=32,
    num_workers=10,
    batch_sampler=None,  # images are square: no groups by shape
    pin_memory=True,
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=5, num_workers=10, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(proposal_nums=(100, 1, 10))
test_evaluator = val_evaluator
