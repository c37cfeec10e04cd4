# RF-DETR-N fine-tuned on VisDrone-DET, as rf_detr_s_visdrone.py; from Roboflow/rf-detr-nano (Apache-2.0).
_base_ = [
    '../_base_/models/rf_detr_n.py',
    '../_base_/datasets/visdrone_detr.py',
    '../_base_/schedules/rf_detr_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=10, test_cfg=dict(max_per_img=500))
train_dataloader = dict(batch_size=4)
train_cfg = dict(max_epochs=72)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [
    _base_.ema,
    dict(type='PipelineSwitchHook', switch_epoch=64, switch_pipeline=_base_.train_pipeline_stage2),
]
