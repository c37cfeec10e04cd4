_base_ = './gfocal_r50_fpn_ms2x.py'
# Res2Net-101 v1d, 26w 4s. 'DCN' is deformable convolution v1: offsets without a mask.
model = dict(
    backbone=dict(
        type='Res2Net',
        depth=101,
        scales=4,
        base_width=26,
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, False, True, True),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://res2net101_v1d_26w_4s'),
    )
)
