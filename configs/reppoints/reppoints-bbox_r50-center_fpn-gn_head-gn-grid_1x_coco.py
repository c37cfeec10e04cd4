# Points on a grid of a predicted box; the first boxes are trained at the location nearest to an object's centre.
_base_ = './reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py'
model = dict(bbox_head=dict(transform_method='minmax', use_grid_points=True))
