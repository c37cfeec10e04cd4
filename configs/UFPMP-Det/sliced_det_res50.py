# The baseline of UFPMP-Det: the coarse detector over overlapping tiles and over the whole image. It reads the checkpoint of coarse_det.py.
_base_ = [
    '../_base_/models/ufpmp_det_r50.py',
    '../_base_/datasets/visdrone_full_resolution.py',
    '../_base_/default_runtime.py',
]

model = dict(
    _delete_=True,
    type='SlicedDet',
    stage=dict(
        detector=dict(
            _base_.model.coarse.detector,
            # Here the boxes are the result: NMS goes class by class.
            test_cfg=dict(_base_.model.coarse.detector.test_cfg, nms=dict(type='nms', iou_threshold=0.6)),
        ),
        # A tile of 640 x 640 becomes 800 x 800.
        scale=(1333, 800),
        flip=True,
    ),
    tile_wh=(640, 640),
    overlap=0.2,
    whole=dict(scale=(1333, 800)),
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=500,
)
