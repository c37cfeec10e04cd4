from .cspnext_pafpn import CSPNeXtPAFPN
from .fpn import FPN

__all__ = ['CSPNeXtPAFPN', 'FPN']
