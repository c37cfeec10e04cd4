# RF-DETR's defaults: 100 epochs with 16 images an iteration (4 batches of 4 accumulated) at a constant rate. The rate of the ViT is 1.5 times as high,
# times 0.7 twice, where the decoder has it once, and falls by a fifth with each layer below the top. Norms, biases and positions of the ViT are not decayed.
max_epochs = 100
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

vit, vit_rate = 'backbone.backbone', 1.5 * 0.7**2
biases = ('attention.q_proj', 'attention.k_proj', 'attention.v_proj', 'attention.o_proj', 'mlp.fc1', 'mlp.fc2')
undecayed = ['norm', *[f'{part}.bias' for part in biases]]
layers = {f'{vit}.encoder.layer.{i}.': vit_rate * 0.8 ** (13 - i) for i in range(12)}
optim_wrapper = dict(
    type='AmpOptimWrapper',
    # Parameters of equal settings in one group: the default's group for each of them is slower.
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    accumulative_counts=4,
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={
            f'{vit}.embeddings': dict(lr_mult=vit_rate * 0.8**14, decay_mult=0.0),
            **{layer: dict(lr_mult=rate) for layer, rate in layers.items()},
            **{
                layer + part: dict(lr_mult=rate, decay_mult=0.0) for layer, rate in layers.items() for part in undecayed
            },
            f'{vit}.layernorm': dict(lr_mult=vit_rate, decay_mult=0.0),
            'model.decoder': dict(lr_mult=0.7),
        }
    ),
)
del vit, vit_rate, biases, undecayed, layers
param_scheduler = []
# Before the checkpoint hook, so that the average is what is saved.
ema = dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.007, gamma=100, update_buffers=True, priority=49)
multi_scale = dict(type='BatchSyncRandomResize', interval=1)
auto_scale_lr = dict(enable=False, base_batch_size=4)
