# DEIMv2-S on COCO: 132 epochs with 32 images an iteration (4 GPUs x 8); a constant rate until the middle, a cosine down to half of it, and 12 epochs at
# that rate without strong augmentation. The ViT learns at a twentieth of the rate. Biases and norms are not decayed.
_base_ = './dfine_132e.py'

mixed_epoch, flat_epoch = 4, 64  # mosaics and mixtures between the two
# For DEIMv2-N in place of the ViT's: the backbone learns at half the rate, and its biases are decayed.
hgnet_rates = {
    'conv_encoder.model': dict(lr_mult=0.5),
    # Longer than the key above, and in the backbone only.
    '.normalization.weight': dict(lr_mult=0.5, decay_mult=0.0),
    '.normalization.bias': dict(lr_mult=0.5, decay_mult=0.0),
}
vit = 'conv_encoder.backbone'
biases = [
    f'{part}.bias'
    for part in ('attention.q_proj', 'attention.v_proj', 'attention.o_proj', 'mlp.up_proj', 'mlp.down_proj')
]
undecayed = [f'model.layer.{i}.{part}' for i in range(12) for part in ('norm', *biases)]
undecayed += ['norm', 'embeddings.patch_embeddings.bias']
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(
        custom_keys={
            '_delete_': True,
            vit: dict(lr_mult=0.05),
            **{f'{vit}.{part}': dict(lr_mult=0.05, decay_mult=0.0) for part in undecayed},
        }
    ),
)
del vit, biases, undecayed
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
