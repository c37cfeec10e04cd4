# UFPMP-Det on UAVDT, both stages, for testing.
_base_ = [
    '../_base_/models/ufpmp_det_r50.py',
    '../_base_/datasets/uavdt_full_resolution.py',
    '../_base_/default_runtime.py',
]

from mmdet.config import stage_config

model = dict(
    coarse=dict(_delete_=True, **stage_config('{{fileDirname}}/UAVDT_coarse_det.py')),
    fine=dict(_delete_=True, **stage_config('{{fileDirname}}/uavdt_mp_det_res50.py')),
)
