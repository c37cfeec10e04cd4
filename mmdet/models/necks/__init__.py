from .cspnext_pafpn import CSPNeXtPAFPN
from .ct_resnet_neck import CTResNetNeck
from .fpn import FPN
from .ghost_pan import GhostPAN
from .hrfpn import HRFPN
from .pan import PAN
from .simple_fpn import SimpleFPN
from .ssd_neck import SSDNeck
from .tan import TAN
from .yolo_neck import YOLOV3Neck
from .yolox_pafpn import YOLOXPAFPN

__all__ = [
    'CSPNeXtPAFPN', 'CTResNetNeck', 'FPN', 'GhostPAN', 'HRFPN', 'PAN', 'SSDNeck', 'SimpleFPN', 'TAN', 'YOLOV3Neck', 'YOLOXPAFPN',
]  # fmt: skip
