# MP-Det, the second stage of UFPMP-Det: GFL whose ten VisDrone classes are two to eight proxies each. UAVDT: proxies_list=[4, 4, 4].
# A training needs OptimalTransportHook, see docs/mp_head.md.
_base_ = './gfl_r50_fpn.py'

model = dict(
    bbox_head=dict(
        type='MPHead',
        num_classes=10,
        num_words=200,
        beta=0,
        gamma=10,
        proxies_list=[2, 3, 2, 5, 4, 8, 8, 4, 3, 3],
    ),
    test_cfg=dict(max_per_img=500),
)
