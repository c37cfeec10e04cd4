# RF-DETR-S fine-tuned on VisDrone-DET, from Roboflow/rf-detr-small (Apache-2.0) as dfine_s_visdrone.py says. Its queries are parameters, 300 in each of
# 13 groups: other numbers begin without weights. Where an image has more objects, tiles divide them. group_detr=5 takes half of the memory.
_base_ = [
    '../_base_/models/rf_detr_s.py',
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
