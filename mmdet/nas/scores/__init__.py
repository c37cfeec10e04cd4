from .base import Score, StageScore, log_terms
from .combined import Ensemble, RandomScore
from .deepmad import DeepMad, depth_penalty
from .forward import ForwardEntropy, ZenScore
from .madnas import MadNas, QEScore
from .quantisation import quantised_std
from .stentr import STEntropy

__all__ = [
    'DeepMad', 'Ensemble', 'ForwardEntropy', 'MadNas', 'QEScore', 'RandomScore', 'STEntropy', 'Score', 'StageScore', 'ZenScore',
    'depth_penalty', 'log_terms', 'quantised_std',
]  # fmt: skip
