# RT-DETRv2-S (arXiv 2407.17140): ResNet-18-vd, a hybrid encoder on strides 8, 16 and 32, 3 decoder layers.
_base_ = './transformers_detector.py'
model = dict(
    model=dict(
        model_type='rt_detr_v2',
        backbone_config=dict(
            model_type='rt_detr_resnet',
            layer_type='basic',
            embedding_size=64,
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            out_indices=[2, 3, 4],
        ),
        # The library freezes them by default, which is for weights that have been loaded.
        freeze_backbone_batch_norms=False,
        encoder_in_channels=[128, 256, 512],
        hidden_expansion=0.5,
        decoder_layers=3,
        num_queries=300,
        # New class layers begin at this probability, as the authors' do; the library's 1 / (classes + 1) is high for few classes.
        initializer_bias_prior_prob=0.01,
    )
)
