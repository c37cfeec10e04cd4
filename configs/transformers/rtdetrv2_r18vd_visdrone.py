# RT-DETRv2-S fine-tuned on VisDrone-DET, with more queries, which the published weights allow; from PekingU/rtdetr_v2_r18vd (Apache-2.0) as
# dfine_s_visdrone.py says, or from scratch with more epochs: its loss in the library is the published one.
_base_ = ['../_base_/models/rtdetrv2_r18vd.py', '../_base_/schedules/dfine_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
train_dataloader = dict(batch_size=4)
# One rate for all; norms are not decayed.
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0))
auto_scale_lr = dict(base_batch_size=16)
