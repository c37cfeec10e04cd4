"""Detection operators. Each uses a compiled kernel of torchvision where that works, and a pure torch or numpy version elsewhere."""

from .deform_conv import DeformConv2d, DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d
from .ms_deform_attn import MSDeformAttn, ms_deform_attn
from .nms import batched_nms, nms, soft_nms
from .roi_align import RoIAlign, roi_align
from .torchvision_ops import torchvision_kernel

__all__ = [
    'DeformConv2d', 'DeformConv2dPack', 'MSDeformAttn', 'ModulatedDeformConv2dPack', 'RoIAlign', 'batched_nms', 'deform_conv2d', 'ms_deform_attn', 'nms',
    'roi_align', 'soft_nms', 'torchvision_kernel',
]  # fmt: skip
