# UAVDT: the frames in data/UAVDT/UAV-benchmark-M/, COCO JSON made by UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py
_base_ = './detection.py'
dataset_type = 'UAVDTDataset'
data_root = 'data/UAVDT/'
metainfo = dict(classes=('car', 'truck', 'bus'))

resize = dict(type='Resize', scale=(1024, 540), keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
del resize
split = dict(type=dataset_type, metainfo=metainfo, data_root=data_root, data_prefix=dict(img='UAV-benchmark-M/'))
train_dataloader = dict(dataset=dict(ann_file='annotations/UAVDT-train.json', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(ann_file='annotations/UAVDT-test.json', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
del split

val_evaluator = dict(ann_file=data_root + 'annotations/UAVDT-test.json', proposal_nums=(100, 300, 500))
test_evaluator = val_evaluator
