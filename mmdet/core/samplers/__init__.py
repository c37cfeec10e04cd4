from .balanced_samplers import InstanceBalancedPosSampler, IoUBalancedNegSampler
from .base_sampler import BaseSampler
from .combined_sampler import CombinedSampler
from .ohem_sampler import OHEMSampler
from .pseudo_sampler import PseudoSampler
from .random_sampler import RandomSampler
from .sampling_result import SamplingResult

__all__ = [
    'BaseSampler', 'CombinedSampler', 'InstanceBalancedPosSampler', 'IoUBalancedNegSampler', 'OHEMSampler', 'PseudoSampler',
    'RandomSampler', 'SamplingResult',
]  # fmt: skip
