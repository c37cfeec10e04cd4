# RT-DETRv2-L fine-tuned on VisDrone-DET, as rtdetrv2_r18vd_visdrone.py; from PekingU/rtdetr_v2_r50vd (Apache-2.0).
_base_ = ['../_base_/models/rtdetrv2_r50vd.py', '../_base_/schedules/dfine_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1), normalization=dict(lr_mult=0.1))),
)
auto_scale_lr = dict(base_batch_size=16)
