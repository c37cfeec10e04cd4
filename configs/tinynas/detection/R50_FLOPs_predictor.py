_base_ = './R50_FLOPs.py'

budgets = [
    dict(type='flops', budget=18.8e9),
    dict(type='latency', budget=0.0008),
    dict(type='layers', budget=91),
]
# Times of single operators on the device to search for: LightNAS's V100 library, or your own, see docs/tinynas_search.md.
latency = dict(
    type='OpPredictor',
    library='{{$MMDET_OP_LIBRARY:data/latency/conv_data.out.fp16}}',
    batch_size=32,
    image_size=480,
)
