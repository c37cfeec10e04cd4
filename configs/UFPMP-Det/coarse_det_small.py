# The small GFL of configs/visdrone as a coarse detector, trained twice as long: for a CPU.
_base_ = '../visdrone/gfl_small_visdrone.py'
model = dict(test_cfg=dict(nms=dict(class_agnostic=True)))
train_dataloader = dict(dataset=dict(times=12))
