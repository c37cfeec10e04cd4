# A backbone for configs/demo/gfl_demo.py, with no more FLOPs and parameters than the ResNet there (docs/tinynas_detector.md).
task = 'detection'
image_size = [384, 640]  # height, width: the demo's 360 x 640 after padding
structure = [
    {'class': 'ConvKXBNRELU', 'in': 3, 'out': 16, 's': 2, 'k': 3},
    {'class': 'SuperResKXKX', 'in': 16, 'out': 24, 's': 2, 'k': 3, 'L': 1, 'btn': 16},
    {'class': 'SuperResKXKX', 'in': 24, 'out': 48, 's': 2, 'k': 3, 'L': 1, 'btn': 24},
    {'class': 'SuperResKXKX', 'in': 48, 'out': 96, 's': 2, 'k': 3, 'L': 1, 'btn': 48},
    {'class': 'SuperResKXKX', 'in': 96, 'out': 192, 's': 2, 'k': 3, 'L': 1, 'btn': 96},
]  # fmt: skip
budgets = [
    dict(type='flops', budget=1.398e9),
    dict(type='model_size', budget=1_576_152),
    dict(type='layers', budget=21),  # on a CPU a deep and narrow network is slow for its FLOPs; ResNet-18 has 17
]
# The neck reads all four stages, and most objects are found at strides 4 and 8: no stage counts more than another.
score = dict(type='madnas', multi_block_ratio=[0, 1, 1, 1, 1])
space = dict(type='space_kxkx', channel_range_list=[None] * 5)
search = dict(popu_size=256, num_random_nets=100_000)
