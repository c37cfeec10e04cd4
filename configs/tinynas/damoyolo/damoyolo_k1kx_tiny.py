_base_ = './damoyolo_k1kx_small.py'

budgets = [
    dict(type='layers', budget=20),
    dict(type='latency', budget=8e-05),
]
space = dict(channel_range_list=[None, None, [64, 96], None, [128, 192], [256, 384]])
