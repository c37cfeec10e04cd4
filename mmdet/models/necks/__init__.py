from .cspnext_pafpn import CSPNeXtPAFPN
from .fpn import FPN
from .hrfpn import HRFPN

__all__ = ['CSPNeXtPAFPN', 'FPN', 'HRFPN']
