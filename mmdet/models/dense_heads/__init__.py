from .anchor_free_head import AnchorFreeHead
from .anchor_head import AnchorHead
from .atss_head import ATSSHead
from .base_dense_head import BaseDenseHead
from .centernet_head import CenterNetHead
from .centernet_update_head import CenterNetUpdateHead
from .fcos_head import FCOSHead
from .fovea_head import FoveaHead
from .gfl_head import GFLHead, GFLTargets
from .gfocal_head import GFocalHead
from .ld_head import LDHead
from .mp_head import MPHead
from .nanodet_head import NanoDetAuxHead, NanoDetHead, NanoDetPlusHead
from .paa_head import PAAHead
from .reppoints_head import RepPointsHead
from .retina_head import RetinaHead
from .rpn_head import RPNHead
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead
from .single_anchor_head import AnchorTargets
from .ssd_head import SSDHead
from .tood_head import TaskDecomposition, TOODHead
from .vfnet_head import VFNetHead
from .yolo_head import YOLOV3Head
from .yolox_head import YOLOXHead

__all__ = [
    'ATSSHead', 'AnchorFreeHead', 'AnchorHead', 'AnchorTargets', 'BaseDenseHead', 'CenterNetHead', 'CenterNetUpdateHead', 'FCOSHead', 'FoveaHead',
    'GFLHead', 'GFLTargets', 'GFocalHead', 'LDHead', 'MPHead', 'NanoDetAuxHead', 'NanoDetHead', 'NanoDetPlusHead', 'PAAHead', 'RPNHead',
    'RTMDetHead', 'RTMDetSepBNHead', 'RepPointsHead', 'RetinaHead', 'SSDHead', 'TOODHead', 'TaskDecomposition', 'VFNetHead', 'YOLOV3Head',
    'YOLOXHead',
]  # fmt: skip
