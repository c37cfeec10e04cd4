# nanodet_g_visdrone6.py over overlapping tiles in their own size, and over the whole image at 832 pixels. It reads the same checkpoint.
_base_ = ['../_base_/datasets/visdrone_full_resolution.py', '../_base_/default_runtime.py']

from mmdet.config import stage_config

model = dict(
    type='SlicedDet',
    stage=stage_config('{{fileDirname}}/nanodet_g_visdrone6.py', 'work_dirs/nanodet_g_visdrone6.pth', flip=False),
    tile_wh=(640, 640),
    overlap=0.2,
    whole=dict(scale=(832, 832)),
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=500,
)
model['stage'].scale = (640, 640)
test_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        metainfo=dict(classes=('person', 'bicycle', 'car', 'motor', 'bus', 'truck')),
        ann_file='annotations/visdrone6_val.json',
    )
)
test_evaluator = dict(
    type='CocoMetric', metric='bbox', ann_file=_base_.data_root + 'annotations/visdrone6_val.json', max_dets=500
)
