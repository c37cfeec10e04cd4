task = 'classification'
image_size = 288
structure = [
    {'class': 'ConvKXBNRELU', 'in': 3, 'out': 16, 's': 2, 'k': 3},
    {'class': 'SuperResK1DWSEK1', 'in': 16, 'out': 32, 's': 2, 'k': 3, 'L': 1, 'btn': 192},
    {'class': 'SuperResK1DWSEK1', 'in': 32, 'out': 48, 's': 2, 'k': 3, 'L': 1, 'btn': 288},
    {'class': 'SuperResK1DWSEK1', 'in': 48, 'out': 72, 's': 2, 'k': 3, 'L': 1, 'btn': 432},
    {'class': 'SuperResK1DWSEK1', 'in': 72, 'out': 108, 's': 1, 'k': 3, 'L': 1, 'btn': 648},
    {'class': 'SuperResK1DWSEK1', 'in': 108, 'out': 162, 's': 2, 'k': 3, 'L': 1, 'btn': 972},
    {'class': 'ConvKXBNRELU', 'in': 162, 'out': 1792, 's': 1, 'k': 1},
]  # fmt: skip
budgets = [
    dict(type='flops', budget=4.5e9),
    dict(type='model_size', budget=29e6),
    dict(type='efficient_score', budget=0.5),
]
score = dict(type='deepmad', multi_block_ratio=[1, 1, 1, 1, 8], alpha1=1, alpha2=1, depth_penalty_ratio=10.0)
space = dict(type='space_k1dwsek1')
search = dict(popu_size=256, num_random_nets=500_000)
