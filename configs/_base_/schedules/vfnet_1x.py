# 12 epochs as published for VarifocalNet: biases learn twice as fast and do not decay, and the rate begins at a tenth.
_base_ = './schedule_1x.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    _base_.param_scheduler[1],
]
optim_wrapper = dict(optimizer=dict(lr=0.01), paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0), clip_grad=None)
