from .batch_sampler import AspectRatioBatchSampler
from .class_aware_sampler import ClassAwareSampler
from .multi_data_sampler import GroupMultiSourceSampler, MultiSourceSampler
from .seeded import DefaultSampler, InfiniteSampler, SeededIndex, SeededSampler, mix_seed, mix_seeds, seeded_rng

__all__ = [
    'AspectRatioBatchSampler', 'ClassAwareSampler', 'DefaultSampler', 'GroupMultiSourceSampler', 'InfiniteSampler', 'MultiSourceSampler',
    'SeededIndex', 'SeededSampler', 'mix_seed', 'mix_seeds', 'seeded_rng',
]  # fmt: skip
