_base_ = '../_base_/quant_start.py'

task = 'quant'
image_size = 224
budgets = [
    dict(type='flops', budget=300e6),
    dict(type='layers', budget=47),
]
score = dict(type='madnas', multi_block_ratio=[0, 0, 1, 1, 6], init_std=4, init_std_act=5)
space = dict(type='space_quant_k1dwk1')
search = dict(popu_size=512, num_random_nets=500_000)
