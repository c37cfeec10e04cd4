# NanoDet-m with half as many channels more. Published: AP 23.5 on COCO val2017.
_base_ = './nanodet_m_320_coco.py'

model = dict(
    backbone=dict(
        model_size='1.5x',
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/shufflenetv2_x1_5-3c479a10.pth'),
    ),
    neck=dict(in_channels=[176, 352, 704], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128),
)
