# NanoDet-g for drone images with what COCO knows of them: the classes that both share, at the scale of the large image. Its checkpoint is made from
# that of COCO by tools/model_converters/upgrade_checkpoint.py --map-classes; docs/nanodet.md has the commands, and says how the annotations are made.
_base_ = './nanodet_g_416_coco.py'

data_root = 'data/VisDrone2019-DET/'
metainfo = dict(classes=('person', 'bicycle', 'car', 'motor', 'bus', 'truck'))
map_classes = dict(trained='coco', rename=dict(motor='motorcycle'))

model = dict(
    # The published weights at hand have their norms folded into the convolutions: without norms they are read as they are, and can be trained.
    backbone=dict(norm_cfg=None),
    bbox_head=dict(num_classes=6, norm_cfg=None),
    data_preprocessor=dict(pad_size_divisor=64),
    test_cfg=dict(nms_pre=-1, nms_pre_rule='pairs', max_per_img=500),
)
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(1333, 1333), keep_ratio=True)
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/visdrone6_val.json',
        data_prefix=dict(img='VisDrone2019-DET-val/images/'),
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(ann_file=data_root + 'annotations/visdrone6_val.json', proposal_nums=(10, 100, 500), max_dets=500)
train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
val_dataloader = None
val_cfg = None
val_evaluator = None
