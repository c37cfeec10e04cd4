# Large-scale jitter over 200 passes, in mixed precision.
_base_ = ['../_base_/models/retinanet_r50_fpn.py', '../common/lsj-200e_coco-detection.py']

model = dict(data_preprocessor=dict(batch_augments=_base_.batch_augments))
train_dataloader = dict(batch_size=8, num_workers=4)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.04))
