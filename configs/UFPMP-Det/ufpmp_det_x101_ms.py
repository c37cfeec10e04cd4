# The second stage is ResNeXt-101 and looks at the mosaic at three scales, each plain and flipped.
_base_ = './ufpmp_det_res50.py'

from mmdet.config import stage_config

model = dict(fine=dict(_delete_=True, **stage_config('{{fileDirname}}/mp_det_x101_ms.py')))
