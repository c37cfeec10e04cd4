from .csp_layer import ChannelAttention, CSPLayer
from .ema import ExpMomentumEMA
from .integral import Integral
from .res_layer import ResLayer

__all__ = ['CSPLayer', 'ChannelAttention', 'ExpMomentumEMA', 'Integral', 'ResLayer']
