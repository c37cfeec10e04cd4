# 24 epochs of five passes each. Images are enlarged canvases or crops, squeezed to a square; 64 images an iteration (8 GPUs x 8).
_base_ = [
    '../_base_/models/ssd300.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]

input_size = 300
preprocessor = _base_.model.data_preprocessor
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='Expand', mean=preprocessor.mean, to_rgb=preprocessor.bgr_to_rgb, ratio_range=(1, 4)),
    dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    *_base_.test_pipeline[2:],
]
train_dataset = dict(_base_.train_dataloader.dataset, pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    batch_sampler=None,
    dataset=dict(_delete_=True, type='RepeatDataset', times=5, dataset=train_dataset),
)
del preprocessor, train_dataset
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(type='SGD', lr=2e-3, momentum=0.9, weight_decay=5e-4))
custom_hooks = [
    dict(type='NumClassCheckHook'),
    dict(type='CheckInvalidLossHook', interval=50, priority='VERY_LOW'),
]
auto_scale_lr = dict(base_batch_size=64)
env_cfg = dict(cudnn_benchmark=True)  # all images have one size
