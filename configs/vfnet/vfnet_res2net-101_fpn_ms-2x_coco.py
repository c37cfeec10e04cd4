# Res2Net-101 v1d, 26w 4s.
_base_ = './vfnet_r50_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        type='Res2Net',
        depth=101,
        scales=4,
        base_width=26,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://res2net101_v1d_26w_4s'),
    )
)
