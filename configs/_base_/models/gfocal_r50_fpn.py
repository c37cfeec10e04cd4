# GFLV2: GFL whose class scores are multiplied by a quality read off the box distributions (DGQP).
_base_ = './gfl_r50_fpn.py'

model = dict(
    bbox_head=dict(
        type='GFocalHead',
        reg_topk=4,
        reg_channels=64,
        add_mean=True,
        loss_cls=dict(use_sigmoid=False),  # the head returns probabilities
    ),
    # The published figures come from the repository's older selection of candidates.
    test_cfg=dict(nms_pre_rule='priors'),
)
