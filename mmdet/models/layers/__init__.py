from mmcv.cnn.bricks import DropPath

from .bbox_nms import fast_nms, multiclass_nms
from .csp_layer import ChannelAttention, CSPLayer
from .ema import ExpMomentumEMA
from .integral import Integral
from .normed_predictor import NormedConv2d, NormedLinear
from .positional_encoding import SinePositionalEncoding, SinePositionalEncoding3D
from .res_layer import ResLayer, SimplifiedBasicBlock
from .se_layer import SELayer
from .transformer import (
    AdaptivePadding,
    DeformableDetrTransformerDecoder,
    DeformableDetrTransformerDecoderLayer,
    DeformableDetrTransformerEncoder,
    DeformableDetrTransformerEncoderLayer,
    DetrTransformerDecoder,
    DetrTransformerDecoderLayer,
    DetrTransformerEncoder,
    DetrTransformerEncoderLayer,
    PatchEmbed,
    PatchMerging,
    coordinate_to_encoding,
    inverse_sigmoid,
)

__all__ = [
    'AdaptivePadding', 'DeformableDetrTransformerDecoder', 'DeformableDetrTransformerDecoderLayer', 'DeformableDetrTransformerEncoder',
    'DeformableDetrTransformerEncoderLayer', 'DetrTransformerDecoder', 'DetrTransformerDecoderLayer', 'DetrTransformerEncoder',
    'DetrTransformerEncoderLayer', 'PatchEmbed', 'PatchMerging',
    'CSPLayer', 'ChannelAttention', 'DropPath', 'ExpMomentumEMA', 'Integral', 'NormedConv2d', 'NormedLinear', 'ResLayer', 'SELayer',
    'SimplifiedBasicBlock', 'SinePositionalEncoding', 'SinePositionalEncoding3D', 'coordinate_to_encoding', 'fast_nms', 'inverse_sigmoid',
    'multiclass_nms',
]  # fmt: skip
