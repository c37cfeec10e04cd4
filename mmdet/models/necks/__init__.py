from .cspnext_pafpn import CSPNeXtPAFPN
from .ct_resnet_neck import CTResNetNeck
from .fpn import FPN

__all__ = ['CSPNeXtPAFPN', 'CTResNetNeck', 'FPN']
