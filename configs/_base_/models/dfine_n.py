# D-FINE-N: strides 16 and 32 only, half the channels.
_base_ = './dfine_s.py'
model = dict(
    model=dict(
        backbone_config=dict(out_indices=[3, 4]),
        num_feature_levels=2,
        feat_strides=[16, 32],
        encoder_in_channels=[512, 1024],
        encoder_hidden_dim=128,
        encoder_ffn_dim=512,
        encode_proj_layers=[1],
        depth_mult=0.5,
        hidden_expansion=0.34,
        d_model=128,
        decoder_in_channels=[128, 128],
        decoder_ffn_dim=512,
        decoder_n_points=[6, 6],
    )
)
