# MAE-DET under GFLV2 (arXiv 2111.13336): the backbone comes from a structure, and the neck takes its channels from the backbone.
_base_ = './gfocal_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TinyNASBackbone',
        out_indices=(1, 2, 3, 4),  # strides 4, 8, 16, 32; the neck starts at 8
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
    ),
    neck=dict(in_channels='auto'),
)
