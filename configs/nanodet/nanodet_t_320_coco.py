# NanoDet-t: an encoder joins the levels. Images have one size. Published: AP 21.7 on COCO val2017.
_base_ = './nanodet_m_320_coco.py'

model = dict(
    neck=dict(type='TAN', out_channels=128, feature_hw=(20, 20)), bbox_head=dict(in_channels=128, feat_channels=128)
)
train_dataloader = dict(batch_size=160)

train_cfg = dict(max_epochs=190)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=190, milestones=[140, 170, 180, 185], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=160)
