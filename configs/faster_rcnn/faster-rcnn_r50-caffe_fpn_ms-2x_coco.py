_base_ = './faster-rcnn_r50-caffe_fpn_ms-1x_coco.py'

train_cfg = dict(max_epochs=24)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24, milestones=[16, 22])]
