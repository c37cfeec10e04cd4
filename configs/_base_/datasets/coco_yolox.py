# COCO as YOLOX sees it: mosaics of four images, warped and mixed with a further one. Images of a test are padded by grey to a square.
_base_ = './coco_detection.py'

img_scale = (640, 640)
grey = dict(img=(114.0, 114.0, 114.0))
mosaic = [
    dict(type='Mosaic', img_scale=img_scale, pad_val=114.0),
    dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-img_scale[0] // 2, -img_scale[1] // 2)),
]
mixture = [dict(type='MixUp', img_scale=img_scale, ratio_range=(0.8, 1.6), pad_val=114.0)]
plain = [
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    # In the last epochs, when the images are not mixed, these two make them square.
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=grey),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
train_pipeline = [*mosaic, *mixture, *plain]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=grey),
    *_base_.test_pipeline[2:],
]
train_dataset = dict(
    _base_.train_dataloader.dataset,
    filter_cfg=dict(filter_empty_gt=False, min_size=32),
    pipeline=_base_.train_pipeline[:2],
)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    batch_sampler=None,  # images are square: no groups by shape
    dataset=dict(_delete_=True, type='MultiImageMixDataset', dataset=train_dataset, pipeline=train_pipeline),
)
del grey, mosaic, mixture, plain
val_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
