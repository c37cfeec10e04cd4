# The baseline of ufpmp_det_small.py: coarse_det_small.py over overlapping tiles and over the whole image. It reads that one's checkpoint.
_base_ = './sliced_det_res50.py'

from mmdet.config import stage_config

model = dict(
    # A tile of 640 x 640 becomes 594 x 594, about 1.5 times the scale of the whole.
    stage=dict(_delete_=True, **stage_config('{{fileDirname}}/coarse_det_small.py')),
    whole=dict(scale=(1056, 594)),
)
# Here the boxes are the result: NMS goes class by class.
model['stage']['detector'].test_cfg.nms.pop('class_agnostic')
