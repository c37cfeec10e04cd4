_base_ = '../_base_/r50_start.py'

task = 'classification'
image_size = 224
budgets = [
    dict(type='flops', budget=4.1e9),
    dict(type='layers', budget=49),
    dict(type='model_size', budget=25.55e6),
]
score = dict(type='madnas', multi_block_ratio=[0, 0, 0, 0, 1])
space = dict(type='space_k1kxk1')
search = dict(popu_size=256, num_random_nets=100_000)
