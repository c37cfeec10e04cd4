_base_ = './gfl_r101_ms2x.py'
# 'DCNv2': offsets and a mask.
model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
