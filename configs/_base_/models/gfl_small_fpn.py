# A GFL small enough to train from scratch on a laptop's CPU: half-width ResNet-18, two convolutions a tower.
_base_ = './gfl_r50_fpn.py'

model = dict(
    data_preprocessor=dict(channels_last=True),
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=16, requires_grad=True),
    ),
)
