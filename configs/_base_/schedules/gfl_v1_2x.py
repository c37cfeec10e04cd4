# The same over 24 epochs.
_base_ = './gfl_v1_1x.py'

train_cfg = dict(max_epochs=24)
param_scheduler = [
    {{_base_.warmup}},
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1),
]
