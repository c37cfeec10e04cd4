# COCO as RF-DETR sees it: squares; half of the training images are cut first, as DETR does.
_base_ = './coco_detection.py'

image_size = (384, 384)
resize = dict(type='Resize', scale=image_size, keep_ratio=False)
cut = [
    dict(type='RandomChoiceResize', scales=[(100000, side) for side in (400, 500, 600)], keep_ratio=True),
    dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True),
]
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomApply', transforms=cut, prob=0.5),
    resize,
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
del resize, cut

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    batch_sampler=None,  # images are square: no groups by shape
    dataset=dict(filter_cfg=dict(filter_empty_gt=False, min_size=0), pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
