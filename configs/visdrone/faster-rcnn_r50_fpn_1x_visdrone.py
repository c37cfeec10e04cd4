# Faster R-CNN R50 on VisDrone-DET, from the released txt annotations; up to 500 detections an image, as that benchmark counts.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/visdrone_txt.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=10)),
    test_cfg=dict(rcnn=dict(max_per_img=500)),
)
