# UFPMP-Det of two small stages, coarse_det_small.py and mp_det_small.py: for a CPU.
_base_ = './ufpmp_det_res50.py'
coarse_checkpoint = 'work_dirs/coarse_det_small/epoch_6.pth'
fine_checkpoint = 'work_dirs/mp_det_small/epoch_6.pth'
preprocessor = dict(channels_last=True)
backbone = dict(depth=18, base_channels=32, stem_channels=32, frozen_stages=-1, norm_eval=False)
head = dict(
    in_channels=64,
    feat_channels=64,
    stacked_convs=1,
    norm_cfg=dict(type='GN', num_groups=16, requires_grad=True),
)
model = dict(
    coarse=dict(
        detector=dict(
            data_preprocessor=preprocessor,
            backbone=backbone,
            neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, start_level=0),
            bbox_head=dict(anchor_generator=dict(octave_base_scale=4, strides=[4, 8, 16, 32, 64]), **head),
            init_cfg=dict(checkpoint=coarse_checkpoint),
        ),
        scale=(1056, 594),
    ),
    fine=dict(
        detector=dict(
            data_preprocessor=preprocessor,
            backbone=backbone,
            neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
            bbox_head=dict(num_words=50, **head),
            init_cfg=dict(checkpoint=fine_checkpoint),
        ),
        scale=(1000, 1000),
    ),
)
