from .library import OpLibrary, merge, op_line
from .measured import MeasuredLatency
from .ops import Op, block_ops
from .predictor import OpPredictor

__all__ = ['MeasuredLatency', 'Op', 'OpLibrary', 'OpPredictor', 'block_ops', 'merge', 'op_line']
