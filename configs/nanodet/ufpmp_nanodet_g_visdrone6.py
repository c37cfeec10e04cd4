# UFPMP-Det with nanodet_g_visdrone6.py in both stages: the whole image at 832 pixels, the mosaic at 1333. Neither has seen a mosaic in training.
_base_ = './sliced_nanodet_g_visdrone6.py'

from mmdet.config import stage_config

checkpoint = 'work_dirs/nanodet_g_visdrone6.pth'
model = dict(
    _delete_=True,
    type='UFPMPDet',
    coarse=stage_config('{{fileDirname}}/nanodet_g_visdrone6.py', checkpoint, flip=False),
    fine=stage_config('{{fileDirname}}/nanodet_g_visdrone6.py', checkpoint, flip=False),
    ufp=dict(scale=1.5, mode='exact'),
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=500,
    min_overlap=0.9,
)
model['coarse'].scale = (832, 832)
# One box for each place.
model['coarse'].detector.test_cfg.nms.class_agnostic = True
