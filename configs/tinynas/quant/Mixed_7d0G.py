_base_ = './Mixed_19d2G.py'

budgets = [
    dict(type='flops', budget=109e6),
    dict(type='layers', budget=47),
]
search = dict(popu_size=256)
