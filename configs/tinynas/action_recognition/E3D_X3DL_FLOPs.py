_base_ = '../_base_/e3d_start.py'

task = 'action_recognition'
image_size = 312
frames = 16
budgets = [
    dict(type='flops', budget=18.5e9),
    dict(type='layers', budget=167),
]
score = dict(type='stentr', multi_block_ratio=[0, 0, 0, 0, 1], frames=16)
space = dict(type='space_3d_k1dwk1')
search = dict(popu_size=256, num_random_nets=100_000)
