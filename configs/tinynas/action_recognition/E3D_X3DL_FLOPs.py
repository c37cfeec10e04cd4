_base_ = './E3D_X3DM_FLOPs.py'

image_size = 312
budgets = [
    dict(type='flops', budget=18.5e9),
    dict(type='layers', budget=167),
]
