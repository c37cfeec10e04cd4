from .batch_sampler import AspectRatioBatchSampler
from .seeded import DefaultSampler, InfiniteSampler, SeededIndex, SeededSampler, mix_seed, mix_seeds, seeded_rng

__all__ = [
    'AspectRatioBatchSampler', 'DefaultSampler', 'InfiniteSampler', 'SeededIndex', 'SeededSampler', 'mix_seed', 'mix_seeds', 'seeded_rng',
]  # fmt: skip
