_base_ = './deepmad_29M_224.py'

structure = [
    {'class': 'ConvKXBNRELU', 'in': 3, 'out': 64, 's': 2, 'k': 3},
    {'class': 'SuperResK1DWSEK1', 'in': 64, 'out': 144, 's': 2, 'k': 3, 'L': 1, 'btn': 865},
    {'class': 'SuperResK1DWSEK1', 'in': 144, 'out': 216, 's': 2, 'k': 3, 'L': 1, 'btn': 1296},
    {'class': 'SuperResK1DWSEK1', 'in': 216, 'out': 324, 's': 2, 'k': 3, 'L': 1, 'btn': 1944},
    {'class': 'SuperResK1DWSEK1', 'in': 324, 'out': 486, 's': 2, 'k': 3, 'L': 1, 'btn': 2916},
    {'class': 'SuperResK1DWSEK1', 'in': 486, 'out': 729, 's': 1, 'k': 3, 'L': 1, 'btn': 4374},
    {'class': 'ConvKXBNRELU', 'in': 729, 'out': 2560, 's': 1, 'k': 1},
]  # fmt: skip
budgets = [
    dict(type='flops', budget=15.4e9),
    dict(type='model_size', budget=89e6),
    dict(type='efficient_score', budget=0.5),
]
