# UFPMP-Det on UAVDT, both stages, for testing.
_base_ = [
    '../_base_/models/ufpmp_det_r50.py',
    '../_base_/datasets/uavdt_full_resolution.py',
    '../_base_/default_runtime.py',
]
coarse_checkpoint = 'work_dirs/UAVDT_coarse_det/epoch_12.pth'
fine_checkpoint = 'work_dirs/uavdt_mp_det_res50/epoch_12.pth'
model = dict(
    coarse=dict(
        detector=dict(bbox_head=dict(num_classes=3), init_cfg=dict(checkpoint=coarse_checkpoint)),
        scale=(1024, 540),
    ),
    fine=dict(
        detector=dict(
            bbox_head=dict(num_classes=3, proxies_list=[4, 4, 4], beta=1),
            init_cfg=dict(checkpoint=fine_checkpoint),
        ),
        scale=(540, 540),
    ),
)
