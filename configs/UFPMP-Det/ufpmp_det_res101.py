_base_ = './ufpmp_det_res50.py'
fine_checkpoint = 'work_dirs/mp_det_res101/epoch_12.pth'
model = dict(
    fine=dict(detector=dict(backbone=dict(depth=101), init_cfg=dict(checkpoint=fine_checkpoint))),
)
