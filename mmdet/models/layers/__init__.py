from .integral import Integral
from .res_layer import ResLayer

__all__ = ['Integral', 'ResLayer']
