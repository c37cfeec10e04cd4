# NanoDet-g (RangiLyu/nanodet): plain 3x3 convolutions, for GPUs.
_base_ = './nanodet_m.py'

model = dict(
    backbone=dict(_delete_=True, type='CustomCspNet', stem_channels=32, blocks=(1, 2, 2, 3), out_indices=(3, 4, 5)),
    neck=dict(in_channels=[128, 256, 512], out_channels=128),
    bbox_head=dict(
        in_channels=128,
        feat_channels=128,
        stacked_convs=1,
        use_depthwise=False,
        reg_max=10,
        anchor_generator=dict(octave_base_scale=8),
    ),
)
