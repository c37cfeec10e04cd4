# DEIMv2-S fine-tuned on VisDrone-DET, with more queries.
_base_ = ['../_base_/models/deimv2_s.py', '../_base_/schedules/deim_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
