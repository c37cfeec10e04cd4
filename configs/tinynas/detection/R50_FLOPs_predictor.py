_base_ = '../_base_/r50_start.py'

task = 'detection'
image_size = 480
budgets = [
    dict(type='flops', budget=18.8e9),
    dict(type='latency', budget=0.0008),
    dict(type='layers', budget=91),
]
score = dict(type='madnas', multi_block_ratio=[0, 0, 1, 1, 6])
space = dict(type='space_k1kxk1')
search = dict(popu_size=256, num_random_nets=100_000)
# Times of single operators on the device to search for: LightNAS's V100 library, or your own, see docs/tinynas_search.md.
latency = dict(
    type='OpPredictor',
    library='{{$MMDET_OP_LIBRARY:data/latency/conv_data.out.fp16}}',
    batch_size=32,
    image_size=480,
)
