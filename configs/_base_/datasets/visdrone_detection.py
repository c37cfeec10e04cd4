# VisDrone-DET as released, data/VisDrone2019-DET/VisDrone2019-DET-{train,val}/{images,annotations}, and the COCO JSON files made from it by
# UFPMP-Det-Tools/build_dataset/VisDrone2COCO.py. (ann_file may also be the folder of the .txt files; the metric needs the JSON.)
_base_ = './detection.py'
dataset_type = 'VisDroneDataset'
data_root = 'data/VisDrone2019-DET/'
metainfo = dict(
    classes=('pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle', 'bus', 'motor'),
)

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/VisDrone2019-DET-train.json',
        data_prefix=dict(img='VisDrone2019-DET-train/images/'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/VisDrone2019-DET-val.json',
        data_prefix=dict(img='VisDrone2019-DET-val/images/'),
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    ann_file=data_root + 'annotations/VisDrone2019-DET-val.json',
    # Up to several hundred objects in an image: VisDrone counts the best 500 detections.
    proposal_nums=(100, 300, 500),
    max_dets=500,
)
test_evaluator = val_evaluator
