"""mmcv's layers of transformers, imported without its warning that the compiled operators are missing: the package has its own."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='Fail to import')
    from mmcv.cnn.bricks.transformer import FFN, AdaptivePadding, MultiheadAttention, PatchEmbed, PatchMerging

__all__ = ['FFN', 'AdaptivePadding', 'MultiheadAttention', 'PatchEmbed', 'PatchMerging']
