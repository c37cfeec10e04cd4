# D-FINE-M: HGNetV2-B2, a deeper encoder, 4 decoder layers.
_base_ = './dfine_s.py'
model = dict(
    model=dict(
        backbone_config=dict(
            stem_channels=[3, 24, 32],
            stage_in_channels=[32, 96, 384, 768],
            stage_mid_channels=[32, 64, 128, 256],
            stage_out_channels=[96, 384, 768, 1536],
            stage_num_blocks=[1, 1, 3, 1],
            stage_numb_of_layers=[4, 4, 4, 4],
            depths=[4, 4, 4, 4],
            hidden_sizes=[192, 384, 768, 1536],
        ),
        encoder_in_channels=[384, 768, 1536],
        depth_mult=0.67,
        hidden_expansion=1.0,
        decoder_layers=4,
    )
)
