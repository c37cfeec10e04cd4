_base_ = '../_base_/k1kx_start.py'

task = 'damoyolo'
image_size = 320
budgets = [
    dict(type='layers', budget=20),
    dict(type='latency', budget=8e-05),
]
score = dict(type='madnas', multi_block_ratio=[0, 0, 1, 1, 16])
space = dict(
    type='space_k1kx', channel_range_list=[None, None, [64, 96], None, [128, 192], [256, 384]], kernel_size_list=[3]
)
search = dict(popu_size=512, num_random_nets=500_000)
# Times of single operators on the device to search for: LightNAS's V100 library, or your own, see docs/tinynas_search.md.
latency = dict(
    type='OpPredictor',
    library='{{$MMDET_OP_LIBRARY:data/latency/conv_data.out.fp16.damoyolo}}',
    batch_size=32,
    image_size=320,
)
