_base_ = './gfocal_r101_fpn_ms2x.py'
# 'DCN' is deformable convolution v1: offsets without a mask.
model = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
