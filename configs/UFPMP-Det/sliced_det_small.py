# The baseline of ufpmp_det_small.py: coarse_det_small.py over overlapping tiles and over the whole image. It reads that one's checkpoint.
_base_ = './ufpmp_det_small.py'

model = dict(
    _delete_=True,
    type='SlicedDet',
    stage=dict(
        detector=dict(
            _base_.model.coarse.detector,
            # Here the boxes are the result: NMS goes class by class.
            test_cfg=dict(_base_.model.coarse.detector.test_cfg, nms=dict(type='nms', iou_threshold=0.6)),
        ),
        # A tile of 640 x 640 becomes 594 x 594, about 1.5 times the scale of the whole.
        scale=(1056, 594),
        flip=True,
    ),
    tile_wh=(640, 640),
    overlap=0.2,
    whole=dict(scale=(1056, 594)),
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=500,
)
