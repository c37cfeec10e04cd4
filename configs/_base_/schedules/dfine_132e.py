# D-FINE-S on COCO: 132 epochs with 32 images an iteration (4 GPUs x 8) at a constant rate, half of it for the backbone; the last 12 without strong
# augmentation. Biases and norms are not decayed, except the backbone's biases.
max_epochs, stage2_epoch = 132, 120
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AmpOptimWrapper',
    # Parameters of equal settings in one group: the default's group for each of them is slower.
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # 'normalization' is the name of norms in the backbone only.
        custom_keys=dict(backbone=dict(lr_mult=0.5), normalization=dict(lr_mult=0.5, decay_mult=0.0)),
    ),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.002, by_epoch=False, begin=0, end=500)]
# Before the checkpoint hook, so that the average is what is saved.
ema = dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=1e-4, gamma=1000, update_buffers=True, priority=49)
# Two batches in three at their own size, the others from 480 to 800 pixels.
multi_scale = dict(
    type='BatchSyncRandomResize',
    random_size_range=(480, 800),
    interval=1,
    own_size_share=0.67,
    stop_epoch=stage2_epoch,
)
auto_scale_lr = dict(enable=False, base_batch_size=32)
