# UFPMP-Det on VisDrone with GFL R50 as the first stage and D-FINE-S as the second, for testing: coarse_det.py and dfine_s_mosaics.py train them,
# tools/model_converters/join_ufpmp.py joins them.
_base_ = './ufpmp_det_res50.py'

from mmdet.config import stage_config

fine = stage_config('{{fileDirname}}/dfine_s_mosaics.py', flip=False)
fine.scale = (1024, 1024)
model = dict(
    fine=dict(_delete_=True, **fine),
    # The packing that the second stage was trained with.
    ufp=dict(mode='exact', max_side=1333),
    nms=dict(_delete_=True, type='nms', iou_threshold=0.7),
)
del fine
