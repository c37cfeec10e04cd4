# PAA with a ResNet-50: the layers of ATSS, positives by the losses of the anchors.
_base_ = './atss_r50_fpn.py'

model = dict(
    type='PAA',
    bbox_head=dict(
        type='PAAHead',
        reg_decoded_bbox=True,
        score_voting=True,
        topk=9,
        loss_bbox=dict(loss_weight=1.3),
        loss_centerness=dict(loss_weight=0.5),
    ),
    train_cfg=dict(
        assigner=dict(
            _delete_=True, type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0, ignore_iof_thr=-1
        ),
    ),
)
