_base_ = './vfnet_x101-64x4d_fpn_ms-2x_coco.py'
# 'DCNv2' is deformable convolution with a mask.
model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    ),
    bbox_head=dict(dcn_on_last_conv=True),
)
