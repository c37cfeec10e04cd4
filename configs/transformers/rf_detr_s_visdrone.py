# RF-DETR-S fine-tuned on VisDrone-DET, from Roboflow/rf-detr-small (Apache-2.0) as dfine_s_visdrone.py says. Its queries are parameters, 300 in each of
# 13 groups: other numbers begin without weights. Where an image has more objects, tiles divide them. group_detr=5 takes half of the memory.
_base_ = ['../_base_/models/rf_detr_s.py', '../_base_/schedules/rf_detr_72e_visdrone.py']
model = dict(num_classes=10, test_cfg=dict(max_per_img=500))
