# GFL on a plain ViT: DINOv2-S of the library transformers and a simple feature pyramid, with the rates of ViTDet (arXiv 2203.16527), whose schedule of
# 100 epochs is longer. Patches of 14 pixels: the strides are 7 to 112. Without --cfg-options the weights are random; the published ones (Apache-2.0):
#   model.backbone.model.from_pretrained=facebook/dinov2-small model.backbone.load=hub
_base_ = '../gfl/gfl_r50_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(pad_size_divisor=14),
    backbone=dict(
        _delete_=True,
        type='TransformersBackbone',
        model=dict(
            model_type='dinov2',
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            patch_size=14,
            image_size=518,
        ),
        drop_path_rate=0.1,
    ),
    neck=dict(
        _delete_=True, type='SimpleFPN', in_channels='auto', out_channels=256, scales=(2, 1, 1 / 2, 1 / 4, 1 / 8)
    ),
    bbox_head=dict(anchor_generator=dict(strides=[7, 14, 28, 56, 112])),
)
optim_wrapper = dict(
    constructor='LayerDecayOptimizerConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(layer_decay_rate=0.7),
)
