from .ema import ExpMomentumEMA
from .integral import Integral
from .res_layer import ResLayer

__all__ = ['ExpMomentumEMA', 'Integral', 'ResLayer']
