# ResNeXt-101 32x4d, tested at three scales, each plain and flipped, with --tta.
_base_ = './mp_det_res50.py'

model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext101_32x4d'),
    )
)
# The paper does not say which scales its multi-scale test has: these are the training's and a quarter less and more.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (1000, 1333, 1666)],
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [dict(type='PackDetInputs', meta_keys=(*_base_.test_pipeline[-1].meta_keys, 'flip', 'flip_direction'))],
        ],
    ),
]
