from .cspnext_pafpn import CSPNeXtPAFPN
from .fpn import FPN
from .ghost_pan import GhostPAN
from .pan import PAN
from .tan import TAN

__all__ = ['CSPNeXtPAFPN', 'FPN', 'GhostPAN', 'PAN', 'TAN']
