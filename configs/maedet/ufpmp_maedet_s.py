# UFPMP-Det on VisDrone with MAE-DET-S under both stages: GFLV2 (GFocalHead, as MAE-DET was published) finds the foreground, MPHead reads the
# mosaic. For testing: coarse_maedet_s.py and mp_det_maedet_s.py train the stages, tools/model_converters/join_ufpmp.py joins them.
_base_ = ['../UFPMP-Det/ufpmp_det_res50.py', '../_base_/models/maedet_s_backbone.py']
coarse_checkpoint = 'work_dirs/coarse_maedet_s/epoch_12.pth'
fine_checkpoint = 'work_dirs/mp_det_maedet_s/epoch_12.pth'

backbone = dict(_delete_=True, **_base_.maedet_s)
neck = dict(in_channels='auto', out_channels=192)
head = dict(in_channels=192, feat_channels=192)
model = dict(
    coarse=dict(
        detector=dict(
            backbone=backbone,
            neck=neck,
            bbox_head=dict(
                type='GFocalHead',
                reg_topk=4,
                reg_channels=64,
                add_mean=True,
                loss_cls=dict(use_sigmoid=False),
                **head,
            ),
            init_cfg=dict(checkpoint=coarse_checkpoint),
        ),
    ),
    fine=dict(
        detector=dict(
            backbone=backbone,
            neck=neck,
            bbox_head=head,
            init_cfg=dict(checkpoint=fine_checkpoint),
        ),
    ),
)
