from .bricks import FFN, AdaptivePadding, MultiheadAttention, PatchEmbed, PatchMerging
from .deformable_detr_layers import (
    DeformableDetrTransformerDecoder,
    DeformableDetrTransformerDecoderLayer,
    DeformableDetrTransformerEncoder,
    DeformableDetrTransformerEncoderLayer,
    MultiScaleDeformableAttention,
)
from .detr_layers import (
    DetrTransformerDecoder,
    DetrTransformerDecoderLayer,
    DetrTransformerEncoder,
    DetrTransformerEncoderLayer,
)
from .utils import coordinate_to_encoding, inverse_sigmoid

__all__ = [
    'AdaptivePadding', 'DeformableDetrTransformerDecoder', 'DeformableDetrTransformerDecoderLayer', 'DeformableDetrTransformerEncoder',
    'DeformableDetrTransformerEncoderLayer', 'DetrTransformerDecoder', 'DetrTransformerDecoderLayer', 'DetrTransformerEncoder',
    'DetrTransformerEncoderLayer', 'FFN', 'MultiScaleDeformableAttention', 'MultiheadAttention', 'PatchEmbed', 'PatchMerging',
    'coordinate_to_encoding', 'inverse_sigmoid',
]  # fmt: skip
