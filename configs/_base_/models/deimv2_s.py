# DEIMv2-S (arXiv 2509.20787): a ViT of 192 channels, whose published weights are distilled from DINOv3, with convolutions beside it for strides 8, 16
# and 32; an encoder as D-FINE's, 4 decoder layers.
_base_ = './transformers_detector.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    model=dict(
        model_type='deimv2',
        backbone_config=dict(
            model_type='dinov3_vit',
            hidden_size=192,
            num_hidden_layers=12,
            num_attention_heads=3,
            intermediate_size=768,
            layerscale_value=1.0,
            num_register_tokens=0,
            pos_embed_rescale=None,
            key_bias=False,
            apply_layernorm=False,
            out_indices=[6, 9, 12],
        ),
        freeze_backbone_batch_norms=False,
        encoder_in_channels=[192, 192, 192],
        encoder_hidden_dim=192,
        encoder_ffn_dim=512,
        encoder_has_trailing_conv=False,
        depth_mult=0.67,
        hidden_expansion=0.34,
        d_model=192,
        decoder_in_channels=[192, 192, 192],
        decoder_ffn_dim=512,
        decoder_n_points=[3, 6, 3],
        decoder_layers=4,
        decoder_activation_function='silu',
        num_queries=300,
        # New class layers begin at this probability, as the authors' do; the library's 1 / (classes + 1) is high for few classes.
        initializer_bias_prior_prob=0.01,
    ),
)
