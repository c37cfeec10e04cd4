# UAVDT's test frames as they are, for detectors that resize on the device themselves; for testing only.
_base_ = './uavdt_detection.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=_base_.test_pipeline[-1].meta_keys[:-1]),  # without a scale_factor
]
train_dataloader = None
val_dataloader = None
val_evaluator = None
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = dict(proposal_nums=(10, 100, 500), max_dets=500)
test_cfg = dict(type='TestLoop')
