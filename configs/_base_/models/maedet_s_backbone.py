# The backbone of MAE-DET-S; in place of another one: backbone=dict(_delete_=True, **_base_.maedet_s).
maedet_s = dict(
    type='TinyNASBackbone',
    structure=[
        {'class': 'ConvKXBNRELU', 'in': 3, 'out': 32, 'k': 3, 's': 2},
        {'class': 'SuperResK1KXK1', 'in': 32, 'out': 48, 'k': 5, 's': 2, 'L': 2, 'btn': 32},
        {'class': 'SuperResK1KXK1', 'in': 48, 'out': 272, 'k': 3, 's': 2, 'L': 4, 'btn': 120},
        {'class': 'SuperResK1KXK1', 'in': 272, 'out': 1024, 'k': 5, 's': 2, 'L': 10, 'btn': 80},
        {'class': 'SuperResK1KXK1', 'in': 1024, 'out': 2048, 'k': 3, 's': 2, 'L': 10, 'btn': 240},
    ],
    out_indices=(1, 2, 3, 4),
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    norm_eval=False,
)
