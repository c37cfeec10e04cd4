from mmdet.core.samplers import (
    BaseSampler,
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
    SamplingResult,
)  # fmt: skip

__all__ = [
    'BaseSampler', 'CombinedSampler', 'InstanceBalancedPosSampler', 'IoUBalancedNegSampler', 'OHEMSampler', 'PseudoSampler',
    'RandomSampler', 'SamplingResult',
]  # fmt: skip
