# The baseline of UFPMP-Det: the coarse detector over overlapping tiles and over the whole image. It reads the checkpoint of coarse_det.py.
_base_ = [
    '../_base_/datasets/visdrone_full_resolution.py',
    '../_base_/default_runtime.py',
]

from mmdet.config import stage_config

model = dict(
    type='SlicedDet',
    # A tile of 640 x 640 becomes 800 x 800.
    stage=stage_config('{{fileDirname}}/coarse_det.py'),
    tile_wh=(640, 640),
    overlap=0.2,
    whole=dict(scale=(1333, 800)),
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=500,
)
# Here the boxes are the result: NMS goes class by class.
model['stage'].detector.test_cfg.nms.pop('class_agnostic')
