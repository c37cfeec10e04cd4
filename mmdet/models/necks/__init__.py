from .cspnext_pafpn import CSPNeXtPAFPN
from .ct_resnet_neck import CTResNetNeck
from .fpn import FPN
from .hrfpn import HRFPN
from .ssd_neck import SSDNeck
from .yolo_neck import YOLOV3Neck
from .yolox_pafpn import YOLOXPAFPN

__all__ = ['CSPNeXtPAFPN', 'CTResNetNeck', 'FPN', 'HRFPN', 'SSDNeck', 'YOLOV3Neck', 'YOLOXPAFPN']
