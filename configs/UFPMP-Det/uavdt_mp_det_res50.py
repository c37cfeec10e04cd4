# UFPMP-Det, second stage: MP-Det R50 on the mosaics that UFPMP-Det-Tools/build_dataset/UFP_UAVDT2COCO.py makes.
_base_ = [
    '../_base_/models/mp_det_r50_fpn.py',
    '../_base_/datasets/uavdt_ufpmp.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
# beta 1: the published file; the author's later branch, probably nearer to his results, has 0.
model = dict(bbox_head=dict(num_classes=3, proxies_list=[4, 4, 4], beta=1))
scale = (540, 540)
resize = dict(type='Resize', scale=scale, keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[3:]]
test_pipeline = [dict(type='LoadImageFromFile'), resize, *_base_.test_pipeline[2:]]
mosaics = dict(data_prefix=dict(img='UAV-benchmark-M-ufp/'))
train_dataloader = dict(
    dataset=dict(dataset=dict(mosaics, ann_file='annotations/UAVDT-train-ufp.json', pipeline=train_pipeline))
)
val_dataloader = dict(dataset=dict(mosaics, ann_file='annotations/UAVDT-test-ufp.json', pipeline=test_pipeline))
test_dataloader = val_dataloader
del resize, mosaics
val_evaluator = dict(ann_file=_base_.data_root + 'annotations/UAVDT-test-ufp.json')
test_evaluator = val_evaluator

auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(optimal_transport=dict(type='OptimalTransportHook', interval=2000, start_emb=2, end_estimating=8))
