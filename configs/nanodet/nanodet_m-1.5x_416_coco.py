# NanoDet-m-1.5x at 416 pixels. Published: AP 26.8 on COCO val2017.
_base_ = './nanodet_m-1.5x_320_coco.py'

image_size = (416, 416)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(train_pipeline[2], scale=image_size, zoom=(0.5, 1.4))
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(test_pipeline[1], scale=image_size)
train_dataloader = dict(batch_size=176, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=176)
