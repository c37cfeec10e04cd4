_base_ = './deepmad_29M_224.py'

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
