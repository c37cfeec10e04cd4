# UFPMP-Det of the demo, for tools/test.py, tools/benchmark.py and DetInferencer: coarse_det_demo.py, packing, mp_det_demo.py.
_base_ = './coarse_det_demo.py'
coarse_checkpoint = 'work_dirs/ufpmp_demo/coarse/epoch_6.pth'
fine_checkpoint = 'work_dirs/ufpmp_demo/mp_det/epoch_6.pth'
coarse_detector = _base_.model

model = dict(
    _delete_=True,
    type='UFPMPDet',
    coarse=dict(
        detector=dict(coarse_detector, init_cfg=dict(type='Pretrained', checkpoint=coarse_checkpoint)),
        scale=_base_.scale,
        flip=False,
    ),
    fine=dict(
        detector=dict(
            coarse_detector,
            neck=dict(coarse_detector.neck, start_level=1),
            bbox_head=dict(
                coarse_detector.bbox_head,
                type='MPHead',
                num_words=50,
                proxies_list=[2, 5, 4, 8, 3, 3],
                anchor_generator=dict(coarse_detector.bbox_head.anchor_generator, strides=[8, 16, 32, 64]),
            ),
            init_cfg=dict(type='Pretrained', checkpoint=fine_checkpoint),
        ),
        scale=(576, 576),
        flip=False,
    ),
    ufp=dict(scale=1.5),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
train_dataloader = None
train_cfg = None
val_dataloader = None
val_cfg = None
val_evaluator = None
optim_wrapper = None
param_scheduler = None
custom_hooks = None
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = dict(type='VisDroneMetric')
