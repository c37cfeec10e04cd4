# 12 epochs as published for FCOS: biases learn twice as fast and do not decay, and 500 iterations begin at a third of the rate.
_base_ = './schedule_1x.py'

param_scheduler = [
    dict(type='ConstantLR', factor=1.0 / 3, by_epoch=False, begin=0, end=500),
    _base_.param_scheduler[1],
]
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
