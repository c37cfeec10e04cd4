# RF-DETR-N (arXiv 2511.09554): DINOv2-S in 2 x 2 windows on patches of 16 pixels, one level, 2 decoder layers; 13 groups of queries, of which one predicts.
_base_ = './transformers_detector.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    model=dict(
        model_type='rf_detr',
        backbone_config=dict(
            model_type='rf_detr_dinov2',
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            image_size=384,
            patch_size=16,
            num_windows=2,
            out_indices=[3, 6, 9, 12],
        ),
        dropout=0.0,
        decoder_layers=2,
        decoder_n_points=2,
        group_detr=13,
        num_queries=300,
    ),
)
