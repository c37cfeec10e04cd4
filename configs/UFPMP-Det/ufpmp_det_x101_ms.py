# The second stage is ResNeXt-101 and looks at the mosaic at three scales, each plain and flipped.
_base_ = './ufpmp_det_res50.py'
fine_checkpoint = 'work_dirs/mp_det_x101_ms/epoch_12.pth'
model = dict(
    fine=dict(
        detector=dict(
            backbone=dict(type='ResNeXt', depth=101, groups=32, base_width=4),
            init_cfg=dict(checkpoint=fine_checkpoint),
        ),
        scale=[(1000, 1000), (1333, 1333), (1666, 1666)],
    ),
)
