# 300 epochs with 256 images an iteration (8 GPUs x 32): AdamW, constant rate, from the middle on a cosine down to a twentieth.
max_epochs = 300
stage2_num_epochs = 20  # the last ones, without mosaics and mixtures
base_lr = 0.004
interval = 10

# Every tenth epoch is evaluated, and each of the last 20.
train_cfg = dict(
    type='EpochBasedTrainLoop',
    max_epochs=max_epochs,
    val_interval=interval,
    dynamic_intervals=[(max_epochs - stage2_num_epochs, 1)],
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    # Parameters of equal settings in one group: the default's group for each of them is slower.
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.05),
    # The head's shared convolutions have a name for each level.
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR',
        eta_min=base_lr * 0.05,
        begin=max_epochs // 2,
        end=max_epochs,
        T_max=max_epochs // 2,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=256)
