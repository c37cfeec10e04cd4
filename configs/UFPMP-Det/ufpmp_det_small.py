# UFPMP-Det of two small stages, coarse_det_small.py and mp_det_small.py: for a CPU.
_base_ = './ufpmp_det_res50.py'

from mmdet.config import stage_config

model = dict(
    coarse=dict(_delete_=True, **stage_config('{{fileDirname}}/coarse_det_small.py')),
    fine=dict(_delete_=True, **stage_config('{{fileDirname}}/mp_det_small.py')),
)
