# D-FINE-S (arXiv 2410.13842): HGNetV2-B0, a hybrid encoder on strides 8, 16 and 32, 3 decoder layers.
_base_ = './transformers_detector.py'
model = dict(
    model=dict(
        model_type='d_fine',
        backbone_config=dict(
            model_type='hgnet_v2',
            stem_channels=[3, 16, 16],
            stage_in_channels=[16, 64, 256, 512],
            stage_mid_channels=[16, 32, 64, 128],
            stage_out_channels=[64, 256, 512, 1024],
            stage_num_blocks=[1, 1, 2, 1],
            stage_numb_of_layers=[3, 3, 3, 3],
            stage_kernel_size=[3, 3, 5, 5],
            stage_light_block=[False, False, True, True],
            stage_downsample=[False, True, True, True],
            depths=[3, 3, 3, 3],
            hidden_sizes=[128, 256, 512, 1024],
            embedding_size=32,
            use_learnable_affine_block=True,
            out_indices=[2, 3, 4],
        ),
        # The library freezes them by default; the published recipes of the small models do not.
        freeze_backbone_batch_norms=False,
        encoder_in_channels=[256, 512, 1024],
        depth_mult=0.34,
        hidden_expansion=0.5,
        decoder_n_points=[3, 6, 3],
        decoder_layers=3,
        num_queries=300,
        # New class layers begin at this probability, as the authors' do; the library's 1 / (classes + 1) is high for few classes.
        initializer_bias_prior_prob=0.01,
    )
)
