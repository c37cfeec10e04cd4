# UFPMP-Det, first stage: MAE-DET-S under GFLV2, as published, on whole VisDrone images. From scratch; with a checkpoint of
# maedet_s_6x_lr0.02.py: --cfg-options load_from=work_dirs/maedet_s_6x_lr0.02/epoch_73.pth
_base_ = ['../UFPMP-Det/coarse_det.py', '../_base_/models/maedet_s_backbone.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.maedet_s),
    neck=dict(in_channels='auto', out_channels=192),
    bbox_head=dict(
        type='GFocalHead',
        in_channels=192,
        feat_channels=192,
        reg_topk=4,
        reg_channels=64,
        add_mean=True,
        loss_cls=dict(use_sigmoid=False),  # the head returns probabilities
    ),
)
