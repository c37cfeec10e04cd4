# The same with the multi-proxy head, which then also finds the regions.
_base_ = './ufpmp_shared_gfl_r50.py'
model = dict(
    coarse=dict(
        detector=dict(
            bbox_head=dict(
                type='MPHead',
                num_words=200,
                beta=0,
                gamma=10,
                proxies_list=[2, 3, 2, 5, 4, 8, 8, 4, 3, 3],
            )
        )
    )
)
default_hooks = dict(optimal_transport=dict(type='OptimalTransportHook', interval=2000, start_emb=2, end_estimating=8))
