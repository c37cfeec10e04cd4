# UFPMP-Det with two ResNet-50 stages, for testing: the models of configs/UFPMP-Det/{coarse_det,mp_det_res50}.py, both with the flip test.
# init_cfg of a stage's detector names the checkpoint of the training of that stage. tools/test.py instead
# reads one file, which tools/model_converters/join_ufpmp.py makes of the two.
_base_ = []  # mmengine takes a file that imports before it names its bases for a config of another kind

from mmdet.config import stage_config

model = dict(
    type='UFPMPDet',
    coarse=stage_config('{{fileDirname}}/../../UFPMP-Det/coarse_det.py'),
    fine=stage_config('{{fileDirname}}/../../UFPMP-Det/mp_det_res50.py'),
    # Boxes enlarged by half, one greedy pass, the guillotine packing: the original's mosaics, which MP-Det was trained on.
    ufp=dict(scale=1.5, mode='reference', packing='guillotine'),
    nms=dict(type='nms', iou_threshold=0.6, offset=1),
    max_per_img=500,
    min_overlap=0.9,
    coarse_weight=0.0,
    on_empty='skip',
)
