# GFLV2 beside GFL on blood cells: the same network but for the quality predictor.
_base_ = './gfl_small_bccd.py'
model = dict(
    bbox_head=dict(
        type='GFocalHead',
        loss_cls=dict(use_sigmoid=False),
        reg_topk=4,
        reg_channels=64,
        add_mean=True,
    )
)
