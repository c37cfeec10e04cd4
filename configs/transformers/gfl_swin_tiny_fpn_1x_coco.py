# GFL with Swin-T of the library transformers: the network and the rates of ../swin/gfl_swin-t-p4-w7_fpn_1x_coco.py, with the weights in the other
# layout. Without --cfg-options they are random; the published ones (Apache-2.0, ImageNet-1k):
#   model.backbone.model.from_pretrained=microsoft/swin-tiny-patch4-window7-224 model.backbone.load=hub
_base_ = '../gfl/gfl_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TransformersBackbone',
        model=dict(model_type='swin', embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7),
        out_indices=(2, 3, 4),
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels='auto', start_level=0),
)
# Neither norms nor tables of positions decay.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0))),
)
