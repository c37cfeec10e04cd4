# D-FINE-M fine-tuned on VisDrone-DET, as dfine_s_visdrone.py; from ustc-community/dfine-medium-coco (Apache-2.0).
_base_ = ['../_base_/models/dfine_m.py', '../_base_/schedules/dfine_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1), normalization=dict(lr_mult=0.1))))
