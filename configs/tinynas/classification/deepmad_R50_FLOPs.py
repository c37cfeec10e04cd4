_base_ = './deepmad_R18_FLOPs.py'

budgets = [
    dict(type='flops', budget=4.13e9),
    dict(type='model_size', budget=25.55e6),
    dict(type='efficient_score', budget=0.3),
]
