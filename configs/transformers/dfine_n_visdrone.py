# D-FINE-N fine-tuned on VisDrone-DET, as dfine_s_visdrone.py; from ustc-community/dfine-nano-coco (Apache-2.0). Its rate is that of 128 images on COCO,
# for 32 a quarter. Without a level at stride 8 it is for tiles and mosaics rather than for whole images.
_base_ = ['../_base_/models/dfine_n.py', '../_base_/schedules/dfine_72e_visdrone.py']
model = dict(num_classes=10, model=dict(num_queries=500), test_cfg=dict(max_per_img=500))
