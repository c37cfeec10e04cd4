# UFPMP-Det on VisDrone with MAE-DET-S under both stages: GFLV2 (GFocalHead, as MAE-DET was published) finds the foreground, MPHead reads the
# mosaic. For testing: coarse_maedet_s.py and mp_det_maedet_s.py train the stages, tools/model_converters/join_ufpmp.py joins them.
_base_ = '../UFPMP-Det/ufpmp_det_res50.py'

from mmdet.config import stage_config

model = dict(
    coarse=dict(_delete_=True, **stage_config('{{fileDirname}}/coarse_maedet_s.py')),
    fine=dict(_delete_=True, **stage_config('{{fileDirname}}/mp_det_maedet_s.py')),
)
