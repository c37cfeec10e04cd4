_base_ = './deepmad_R18_FLOPs.py'

budgets = [
    dict(type='flops', budget=3.68e9),
    dict(type='model_size', budget=21.8e6),
    dict(type='efficient_score', budget=0.3),
]
