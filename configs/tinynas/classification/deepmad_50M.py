task = 'classification'
image_size = 224
structure = [
    {'class': 'ConvKXBNRELU', 'in': 3, 'out': 48, 's': 2, 'k': 3},
    {'class': 'SuperResK1DWSEK1', 'in': 48, 'out': 84, 's': 2, 'k': 3, 'L': 1, 'btn': 504},
    {'class': 'SuperResK1DWSEK1', 'in': 84, 'out': 144, 's': 2, 'k': 3, 'L': 1, 'btn': 864},
    {'class': 'SuperResK1DWSEK1', 'in': 144, 'out': 216, 's': 2, 'k': 3, 'L': 1, 'btn': 1296},
    {'class': 'SuperResK1DWSEK1', 'in': 216, 'out': 324, 's': 2, 'k': 3, 'L': 1, 'btn': 1944},
    {'class': 'SuperResK1DWSEK1', 'in': 324, 'out': 512, 's': 1, 'k': 3, 'L': 1, 'btn': 3072},
    {'class': 'ConvKXBNRELU', 'in': 512, 'out': 2048, 's': 1, 'k': 1},
]  # fmt: skip
budgets = [
    dict(type='flops', budget=8.7e9),
    dict(type='model_size', budget=50e6),
    dict(type='efficient_score', budget=0.5),
]
score = dict(type='deepmad', multi_block_ratio=[1, 1, 1, 1, 8], alpha1=1, alpha2=1, depth_penalty_ratio=10.0)
space = dict(type='space_k1dwsek1')
search = dict(popu_size=256, num_random_nets=500_000)
