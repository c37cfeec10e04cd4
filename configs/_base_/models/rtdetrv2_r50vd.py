# RT-DETRv2-L: ResNet-50-vd, 6 decoder layers.
_base_ = './rtdetrv2_r18vd.py'
model = dict(
    model=dict(
        backbone_config=dict(layer_type='bottleneck', hidden_sizes=[256, 512, 1024, 2048], depths=[3, 4, 6, 3]),
        encoder_in_channels=[512, 1024, 2048],
        hidden_expansion=1.0,
        decoder_layers=6,
    )
)
