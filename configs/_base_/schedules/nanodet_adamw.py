# NanoDet-Plus on one GPU, 96 images an iteration: AdamW, a cosine by epochs down to a twentieth.
max_epochs = 300
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    # The rate is full at step 500.
    dict(type='LinearLR', start_factor=1.0e-4, by_epoch=False, begin=0, end=501),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs, eta_min=5.0e-5),
]
auto_scale_lr = dict(enable=False, base_batch_size=96)
