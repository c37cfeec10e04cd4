_base_ = './ufpmp_det_res50.py'

from mmdet.config import stage_config

model = dict(fine=dict(_delete_=True, **stage_config('{{fileDirname}}/mp_det_res101.py')))
