from .cspnext_pafpn import CSPNeXtPAFPN
from .fpn import FPN
from .pan import PAN

__all__ = ['CSPNeXtPAFPN', 'FPN', 'PAN']
