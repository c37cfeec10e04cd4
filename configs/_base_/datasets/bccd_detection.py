# BCCD blood cells (VOC layout, 640x480) in data/BCCD/, with
#   python tools/dataset_converters/pascal_voc.py data/BCCD data/BCCD/annotations
# Validation during training runs on 'val', the test set is 'test'.
_base_ = './detection.py'
dataset_type = 'CocoDataset'
data_root = 'data/BCCD/'
metainfo = dict(classes=('RBC', 'WBC', 'Platelets'))

resize = dict(type='Resize', scale=(640, 480), keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[3:]]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
del resize
split = dict(type=dataset_type, metainfo=metainfo, data_root=data_root, data_prefix=dict(img='JPEGImages/'))
train_dataloader = dict(dataset=dict(ann_file='annotations/train.json', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(ann_file='annotations/val.json', pipeline=test_pipeline, **split))
test_dataloader = dict(dataset=dict(ann_file='annotations/test.json', pipeline=test_pipeline, **split))
del split

val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = dict(ann_file=data_root + 'annotations/test.json')
