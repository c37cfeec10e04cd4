# A quarter of the demo's detector, as a student for distillation, and as its own baseline.
_base_ = './gfl_demo.py'
model = dict(
    backbone=dict(base_channels=12, stem_channels=12),
    neck=dict(in_channels=[12, 24, 48, 96], out_channels=24),
    bbox_head=dict(in_channels=24, feat_channels=24, norm_cfg=dict(num_groups=6)),
)
