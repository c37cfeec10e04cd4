_base_ = '../_base_/r50_start.py'

task = 'detection'
image_size = 480
budgets = [
    dict(type='flops', budget=18.8e9),
    dict(type='layers', budget=91),
]
score = dict(type='madnas', multi_block_ratio=[0, 0, 1, 1, 6])
space = dict(type='space_k1kxk1')
search = dict(popu_size=256, num_random_nets=100_000)
