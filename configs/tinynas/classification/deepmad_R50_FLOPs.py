_base_ = '../_base_/r50_start.py'

task = 'classification'
image_size = 224
budgets = [
    dict(type='flops', budget=4.13e9),
    dict(type='model_size', budget=25.55e6),
    dict(type='efficient_score', budget=0.3),
]
score = dict(type='deepmad', multi_block_ratio=[1, 1, 1, 1, 8], alpha1=1, alpha2=1, depth_penalty_ratio=10.0)
space = dict(type='space_k1kxk1')
search = dict(popu_size=256, num_random_nets=500_000)
