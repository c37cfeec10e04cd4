# Group norms in the head, and class features aligned to the predicted boxes.
_base_ = './fovea_r50_fpn_4xb4-2x_coco.py'

model = dict(bbox_head=dict(with_deform=True, norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)))
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
