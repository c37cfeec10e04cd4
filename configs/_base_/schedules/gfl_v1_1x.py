# 12 epochs as GFL's own repository trains (mmdetection 1.x): warm-up from a third of the rate, biases at twice the rate
# and without decay. Norms are exempt by name there ('bn1', 'gn'), hence not the one of a shortcut, 'downsample.1'.
_base_ = './schedule_1x.py'

param_scheduler = [dict(_base_.param_scheduler[0], start_factor=1 / 3), _base_.param_scheduler[1]]
optim_wrapper = dict(
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(
        bias_lr_mult=2,
        bias_decay_mult=0,
        norm_decay_mult=1,
        custom_keys={'downsample.1.bias': dict(lr_mult=2, decay_mult=0)},
    ),
)
