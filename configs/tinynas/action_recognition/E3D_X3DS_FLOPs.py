_base_ = './E3D_X3DM_FLOPs.py'

image_size = 160
frames = 13
budgets = [
    dict(type='flops', budget=2e9),
    dict(type='layers', budget=83),
]
score = dict(frames=13)
search = dict(num_random_nets=500_000)
