# Images of 320 to 416 pixels.
_base_ = './yolov3_d53_8xb8-ms-608-273e_coco.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[4] = dict(type='RandomResize', scale=[(320, 320), (416, 416)], keep_ratio=True)
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(416, 416), keep_ratio=True)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
