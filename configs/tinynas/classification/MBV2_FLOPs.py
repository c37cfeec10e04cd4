_base_ = '../_base_/mbv2_start.py'

task = 'classification'
image_size = 224
budgets = [
    dict(type='flops', budget=300e6),
    dict(type='layers', budget=53),
]
score = dict(type='madnas', multi_block_ratio=[0, 0, 0, 0, 1])
space = dict(type='space_k1dwk1')
search = dict(popu_size=256, num_random_nets=100_000)
