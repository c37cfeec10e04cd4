# RF-DETR-N fine-tuned on VisDrone-DET, as rf_detr_s_visdrone.py; from Roboflow/rf-detr-nano (Apache-2.0).
_base_ = ['../_base_/models/rf_detr_n.py', '../_base_/schedules/rf_detr_72e_visdrone.py']
model = dict(num_classes=10, test_cfg=dict(max_per_img=500))
