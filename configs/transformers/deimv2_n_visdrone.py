# DEIMv2-N fine-tuned on VisDrone-DET, as deimv2_s_visdrone.py. Without a level at stride 8 it is for tiles and mosaics rather than for whole images.
_base_ = ['../_base_/models/deimv2_n.py', '../_base_/schedules/deim_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
optim_wrapper = dict(optimizer=dict(lr=8e-4), paramwise_cfg=dict(custom_keys=dict(_delete_=True, **_base_.hgnet_rates)))
