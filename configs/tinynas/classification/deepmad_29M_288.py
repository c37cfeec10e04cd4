_base_ = './deepmad_29M_224.py'

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
