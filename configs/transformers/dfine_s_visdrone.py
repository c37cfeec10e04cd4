# D-FINE-S fine-tuned on VisDrone-DET, with more queries, which the published weights allow; they come from the encoder. The weights of COCO, Apache-2.0:
#   --cfg-options model.model.from_pretrained=FOLDER, where ustc-community/dfine-small-coco was saved; docs/transformers.md
_base_ = ['../_base_/models/dfine_s.py', '../_base_/schedules/dfine_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
