# DEIMv2-S on COCO: 132 epochs with 32 images an iteration (4 GPUs x 8); a constant rate until the middle, a cosine down to half of it, and 12 epochs at
# that rate without strong augmentation. The ViT learns at a twentieth of the rate. Biases and norms are not decayed, except the ViT's biases.
_base_ = './dfine_132e.py'

mixed_epoch, flat_epoch = 4, 64  # mosaics and mixtures between the two
# Of the decoder: RMSNorm, which is no norm for norm_decay_mult.
rms_norms = {'_layer_norm': dict(decay_mult=0.0), 'gateway.norm': dict(decay_mult=0.0)}
# For DEIMv2-N in place of the ViT's: the backbone learns at half the rate.
hgnet_rates = {
    'conv_encoder.model': dict(lr_mult=0.5),
    # Longer than the key above, and in the backbone only.
    '.normalization.weight': dict(lr_mult=0.5, decay_mult=0.0),
    '.normalization.bias': dict(lr_mult=0.5, decay_mult=0.0),
    **rms_norms,
}
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(
        custom_keys={
            '_delete_': True,
            'conv_encoder.backbone': dict(lr_mult=0.05),
            **{f'conv_encoder.backbone.model.layer.{i}.norm': dict(lr_mult=0.05, decay_mult=0.0) for i in range(12)},
            **rms_norms,
        }
    ),
)
del rms_norms
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-4, by_epoch=False, begin=0, end=2000),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.5,
        by_epoch=True,
        begin=flat_epoch,
        end=_base_.stage2_epoch,
        T_max=_base_.stage2_epoch - flat_epoch,
        convert_to_iter_based=True,
    ),
]
