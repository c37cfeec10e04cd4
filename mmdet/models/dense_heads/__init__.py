from .anchor_free_head import AnchorFreeHead
from .anchor_head import AnchorHead
from .atss_head import ATSSHead
from .base_dense_head import BaseDenseHead
from .fcos_head import FCOSHead
from .gfl_head import GFLHead, GFLTargets
from .gfocal_head import GFocalHead
from .ld_head import LDHead
from .mp_head import MPHead
from .nanodet_head import NanoDetAuxHead, NanoDetHead, NanoDetPlusHead
from .retina_head import RetinaHead
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead
from .single_anchor_head import AnchorTargets
from .tood_head import TaskDecomposition, TOODHead
from .vfnet_head import VFNetHead

__all__ = [
    'ATSSHead', 'AnchorFreeHead', 'AnchorHead', 'AnchorTargets', 'BaseDenseHead', 'FCOSHead', 'GFLHead', 'GFLTargets', 'GFocalHead', 'LDHead',
    'MPHead', 'NanoDetAuxHead', 'NanoDetHead', 'NanoDetPlusHead', 'RTMDetHead', 'RTMDetSepBNHead', 'RetinaHead', 'TOODHead', 'TaskDecomposition', 'VFNetHead',
]  # fmt: skip
