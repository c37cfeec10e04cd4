# Images of 320 pixels.
_base_ = './yolov3_d53_8xb8-ms-608-273e_coco.py'

resize = dict(type='Resize', scale=(320, 320), keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:4], resize, *_base_.train_pipeline[5:]]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
del resize

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
