# UFPMP-Det, second stage: MP-Det with the backbone and widths of MAE-DET-S, on mosaics. From scratch; backbone and neck of a checkpoint of
# coarse_maedet_s.py: --cfg-options load_from=work_dirs/coarse_maedet_s/epoch_12.pth
_base_ = ['../UFPMP-Det/mp_det_res50.py', '../_base_/models/maedet_s_backbone.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.maedet_s),
    neck=dict(in_channels='auto', out_channels=192),
    bbox_head=dict(in_channels=192, feat_channels=192),
)
