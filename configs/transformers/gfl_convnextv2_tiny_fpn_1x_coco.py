# GFL with ConvNeXtV2-T of the library transformers, from random weights: those that are published are under CC-BY-NC 4.0 by the terms of their
# repository, whatever the card on the hub says. Whom these suit, or who has others: model.backbone.model.from_pretrained=FOLDER. There is no published
# model of this detector. Rates are those of ConvNeXt's detectors (facebookresearch/ConvNeXt): 0.95 for each of six groups of layers there, hence its
# third root for each of the 18 blocks here; their drop path of 0.4 is for 36 epochs.
_base_ = '../gfl/gfl_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TransformersBackbone',
        model=dict(model_type='convnextv2', hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 9, 3]),
        out_indices=(2, 3, 4),
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels='auto', start_level=0),
)
optim_wrapper = dict(
    constructor='LayerDecayOptimizerConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.983),
)
