"""Order and seeds are functions of (seed, epoch, sample); processes share the same global batches."""

import copy
import itertools
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS

from mmdet.datasets import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler, SeededIndex, samplers
from mmdet.datasets.samplers import ClassAwareSampler, GroupMultiSourceSampler, MultiSourceSampler, batch_sampler
from mmdet.engine.loops import skip_batches
from mmdet.registry import DATA_SAMPLERS
from mmdet.utils import ConfigError, DataError


class Sizes:
    """A dataset of which the samplers see the length and the sizes only."""

    def __init__(self, count: int, upright=()):
        self.sizes_wh = np.array([(30, 40) if i in upright else (40, 30) for i in range(count)]).reshape(-1, 2)

    def __len__(self):
        return len(self.sizes_wh)

    def get_sizes_wh(self):
        return self.sizes_wh


@pytest.fixture
def process(monkeypatch):
    """``process(rank, world_size)`` makes the next samplers believe that."""

    def set_process(rank: int, world_size: int):
        for module in (samplers.seeded, samplers.batch_sampler):
            monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world_size))

    return set_process


def test_empty_dataset():
    with pytest.raises(DataError, match='at least one sample'):
        DefaultSampler(Sizes(0))


def test_seeded_index_is_an_int_that_survives_pickling():
    index = SeededIndex(5, seed=2**40)
    for clone in (index, pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert clone == 5 and [10, 11, 12, 13, 14, 15][clone] == 15 and clone.seed == 2**40
    assert type(index + 1) is int


def test_mix_seed():
    parts = [(0,), (1,), (0, 0), (0, 1), (1, 0), (-1, 3), (2**70, 3)]
    seeds = [samplers.mix_seed(*p) for p in parts]
    assert len(set(seeds)) == len(parts) and all(0 <= seed < 2**63 for seed in seeds)
    assert samplers.mix_seeds((3, 4), np.arange(50)).tolist() == [samplers.mix_seed(3, 4, i) for i in range(50)]


def test_seeded_rng_seeds_and_restores():
    def draw():
        return random.random(), np.random.rand(), np.random.randn(), torch.rand(()).item()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    np.random.randn()  # leaves a cached second normal number behind
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    np.random.randn()
    with samplers.seeded_rng(9):
        first = draw()
    assert draw() == expected
    with samplers.seeded_rng(9):
        assert draw() == first


def test_default_sampler_shuffles_by_seed_and_epoch():
    sampler = DefaultSampler(Sizes(50), seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(50)) and first != sorted(first) and len(sampler) == 50
    assert first == list(sampler) == list(DefaultSampler(Sizes(50), seed=3))
    assert [i.seed for i in first] == [samplers.mix_seed(3, 0, i) for i in first]
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first and {i.seed for i in first}.isdisjoint(i.seed for i in second)
    assert first != list(DefaultSampler(Sizes(50), seed=4))
    assert list(DefaultSampler(Sizes(5), shuffle=False, seed=0)) == [0, 1, 2, 3, 4]


def test_default_sampler_deals_to_processes(process):
    def dealt(world_size, **options):
        result = []
        for rank in range(world_size):
            process(rank, world_size)
            sampler = DefaultSampler(Sizes(10), seed=0, **options)
            result.append(list(sampler))
            assert len(sampler) == len(result[-1])
        return result

    (alone,) = dealt(1)
    first, second = dealt(2)
    # Batches of 2 x 2 hold what batches of 4 hold.
    for start in range(0, 10, 4):
        assert set(alone[start : start + 4]) == set(first[start // 2 : start // 2 + 2]) | set(
            second[start // 2 : start // 2 + 2]
        )
    assert [i.seed for i in alone[::2]] == [i.seed for i in first]
    assert [len(part) for part in dealt(3)] == [4, 4, 4]
    assert [len(part) for part in dealt(3, round_up=False)] == [4, 3, 3]
    assert sorted(itertools.chain(*dealt(3, round_up=False))) == list(range(10))
    assert [len(part) for part in dealt(16)] == [1] * 16


def test_infinite_sampler(process):
    process(0, 1)
    stream = list(itertools.islice(iter(InfiniteSampler(Sizes(7), seed=1)), 21))
    assert [sorted(stream[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
    assert len({i.seed for i in stream}) == 21
    process(1, 2)
    assert list(itertools.islice(iter(InfiniteSampler(Sizes(7), seed=1)), 10)) == stream[1:21:2]


@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize(
    ('count', 'upright'), [(1, ()), (8, ()), (23, (0, 5, 6, 7, 20)), (24, range(12)), (25, range(1, 25))]
)
def test_aspect_ratio_batches(process, count, upright, drop_last):
    process(0, 1)
    batch_sampler = AspectRatioBatchSampler(
        DefaultSampler(Sizes(count, upright), seed=0), batch_size=4, drop_last=drop_last
    )
    batches = list(batch_sampler)
    assert len(batches) == len(batch_sampler)
    flat = list(itertools.chain(*batches))
    assert len(set(flat)) == len(flat)
    if drop_last:
        assert all(len(batch) == 4 for batch in batches) and count - len(flat) < 4
    else:
        assert sorted(flat) == list(range(count)) and all(len(batch) == 4 for batch in batches[:-1])
    mixed = [len({i in set(upright) for i in batch}) > 1 for batch in batches]
    assert sum(mixed) <= 2 and not any(mixed[: len(batches) - 2])


@pytest.mark.parametrize('count', [1, 5, 16, 22, 23, 41])
@pytest.mark.parametrize('world_size', [2, 3, 4])
@pytest.mark.parametrize('drop_last', [False, True])
def test_aspect_ratio_batches_of_processes_make_up_the_global_ones(process, count, world_size, drop_last):
    upright = set(range(0, count, 3))

    def batches(rank, world, batch_size):
        process(rank, world)
        batch_sampler = AspectRatioBatchSampler(DefaultSampler(Sizes(count, upright), seed=5), batch_size, drop_last)
        batch_sampler.sampler.set_epoch(2)
        result = list(batch_sampler)
        assert len(result) == len(batch_sampler)
        return result

    alone = batches(0, 1, 2 * world_size)
    together = [batches(rank, world_size, 2) for rank in range(world_size)]
    assert len({len(part) for part in together}) == 1  # the same number of batches everywhere
    for whole, *parts in zip(alone, *together, strict=True):
        assert len({len(part) for part in parts}) == 1  # and of images in them
        dealt = list(itertools.chain(*parts))
        assert set(dealt) >= set(whole) and len(dealt) - len(whole) < world_size
        assert {i.seed for i in dealt} >= {i.seed for i in whole}


def test_aspect_ratio_needs_sizes_and_a_sampler_that_deals(process):
    dataset = Sizes(4)
    dataset.sizes_wh[2] = 0
    with pytest.raises(DataError, match='width and height'):
        list(AspectRatioBatchSampler(DefaultSampler(dataset, seed=0), 2))
    with pytest.raises(ConfigError, match='batch_size'):
        AspectRatioBatchSampler(DefaultSampler(Sizes(4), seed=0), 0)
    with pytest.raises(ConfigError, match='sampler'):
        AspectRatioBatchSampler([1, 2], 2)
    assert list(AspectRatioBatchSampler(torch.utils.data.SequentialSampler(Sizes(4)), 2)) == [[0, 1], [2, 3]]
    process(0, 2)
    with pytest.raises(ConfigError, match='several processes'):
        AspectRatioBatchSampler(torch.utils.data.SequentialSampler(Sizes(4)), 2)
    with pytest.raises(ConfigError, match='several processes'):
        AspectRatioBatchSampler(DefaultSampler(Sizes(4), seed=0, round_up=False), 2)


def test_runner_registry_gives_our_samplers():
    for registry in (DATA_SAMPLERS, ROOT_SAMPLERS):
        sampler = registry.build(
            {'type': 'DefaultSampler', 'shuffle': True}, default_args={'dataset': Sizes(4), 'seed': 1}
        )
        assert type(sampler) is DefaultSampler
        batch_sampler = registry.build(
            {'type': 'AspectRatioBatchSampler'}, default_args={'sampler': sampler, 'batch_size': 2}
        )
        assert type(batch_sampler) is AspectRatioBatchSampler


def test_square_images_are_not_upright_and_what_is_left_starts_with_those():
    dataset = Sizes(2, upright={0})
    assert list(AspectRatioBatchSampler(DefaultSampler(dataset, shuffle=False, seed=0), 2)) == [[1, 0]]
    dataset.sizes_wh[0] = 40, 40
    assert batch_sampler.upright(dataset) == [False, False]


def test_all_bits_of_a_seed_reach_numpy():
    draws = []
    for seed in (9, 9 + 2**16, 9 + 2**31):
        with samplers.seeded_rng(seed):
            draws.append(np.random.rand())
    assert len(set(draws)) == 3


def test_errors_that_callers_of_mmdetection_catch():
    with pytest.raises(TypeError, match='sampler should be an instance of ``Sampler``'):
        AspectRatioBatchSampler([1, 2], 2)
    for size in (0, -1, 1.5):
        with pytest.raises(ValueError, match='batch_size should be a positive integer value'):
            AspectRatioBatchSampler(DefaultSampler(Sizes(10)), size)
    assert batch_sampler.AspectRatioBatchSampler is AspectRatioBatchSampler


class Labelled(Sizes):
    """Eight images of four classes, of which 'c' has none, and one image without objects."""

    metainfo = dict(classes=('a', 'b', 'c', 'd'))
    labels = ([0], [0], [0, 1], [], [1], [0], [3], [0])

    def get_cat_ids(self, index):
        return list(self.labels[index])


class Joined(Sizes):
    """Two parts of 5 and 7 images; 0, 1, 5, 6, 7 are upright."""

    cumulative_sizes = (5, 12)

    def __init__(self, upright=(0, 1, 5, 6, 7)):
        super().__init__(12, upright)


def test_class_aware_sampler():
    """Orders of mmdetection 3.3.0 for these labels and seeds."""
    sampler = ClassAwareSampler(Labelled(8), seed=5)
    first = list(sampler)
    assert first == [6, 2, 2, 6, 4, 0, 2, 6] and len(sampler) == 8 and first == list(sampler)
    assert len({index.seed for index in first}) == 8  # the same image comes several times, each time augmented anew
    sampler.set_epoch(1)
    second = list(sampler)
    assert second == [6, 5, 4, 1, 2, 6, 0, 6] and {i.seed for i in first}.isdisjoint(i.seed for i in second)
    assert list(ClassAwareSampler(Labelled(8), seed=5, num_sample_class=2)) == [6, 6, 2, 4, 2, 0, 6, 6]


def test_class_aware_sampler_deals_to_processes(process):
    alone = list(ClassAwareSampler(Labelled(8), seed=5))
    parts = []
    for rank in (0, 1):
        process(rank, 2)
        parts.append(list(ClassAwareSampler(Labelled(8), seed=5)))
    assert [parts[0][i // 2] if i % 2 == 0 else parts[1][i // 2] for i in range(8)] == alone
    assert [i.seed for i in parts[1]] == [i.seed for i in alone[1::2]]
    process(2, 3)
    assert len(list(ClassAwareSampler(Labelled(8), seed=5))) == 3
    batches = list(AspectRatioBatchSampler(ClassAwareSampler(Labelled(8), seed=5), 2))
    assert [len(batch) for batch in batches] == [2, 1]


def test_class_aware_sampler_refuses():
    empty = Labelled(8)
    empty.labels = ([],) * 8
    with pytest.raises(DataError, match='images with objects'):
        ClassAwareSampler(empty, seed=0)
    for number in (0, 1.5):
        with pytest.raises(AssertionError, match='num_sample_class'):
            ClassAwareSampler(Labelled(8), seed=0, num_sample_class=number)


def test_multi_source_sampler(process):
    """Order of mmdetection 3.3.0 for this seed."""
    expected = [1, 0, 10, 8, 9, 3, 4, 11, 5, 7, 2, 0, 6, 7, 11, 1, 2, 8, 6, 10]
    sampler = MultiSourceSampler(Joined(), batch_size=5, source_ratio=[1, 3], seed=3)
    assert list(itertools.islice(sampler, 20)) == expected and len(sampler) == 12
    long = list(itertools.islice(sampler, 500))
    assert len({index.seed for index in long}) == 500
    sampler.set_epoch(3)
    assert list(itertools.islice(sampler, 20)) == expected
    plain = MultiSourceSampler(Joined(), batch_size=4, source_ratio=[1, 1], shuffle=False, seed=3)
    assert list(itertools.islice(plain, 12)) == [0, 1, 5, 6, 2, 3, 7, 8, 4, 0, 9, 10]
    both = []
    for rank in (0, 1):
        process(rank, 2)
        both.append(list(itertools.islice(MultiSourceSampler(Joined(), 4, [1, 1], seed=3), 12)))
    process(0, 1)
    alone = list(itertools.islice(MultiSourceSampler(Joined(), 8, [1, 1], seed=3), 24))
    for step in range(3):  # an iteration of two processes holds what one of a single process with twice the batch holds
        together = both[0][4 * step : 4 * step + 4] + both[1][4 * step : 4 * step + 4]
        assert sorted(i.seed for i in together) == sorted(i.seed for i in alone[8 * step : 8 * step + 8])


def test_group_multi_source_sampler(process):
    upright = {0, 1, 5, 6, 7}
    sampler = GroupMultiSourceSampler(Joined(), batch_size=4, source_ratio=[1, 1], seed=3)
    batches = [list(itertools.islice(stream, 4)) for stream in [iter(sampler)] for _ in range(300)]
    kinds = [{index in upright for index in batch} for batch in batches]
    assert all(len(kind) == 1 for kind in kinds) and all(
        [i < 5 for i in batch] == [True, True, False, False] for batch in batches
    )
    assert sum(kind == {True} for kind in kinds) / 300 == pytest.approx(5 / 12, abs=0.1)
    assert {index for batch in batches for index in batch} == set(range(12))
    process(1, 2)
    other = list(itertools.islice(GroupMultiSourceSampler(Joined(), 4, [1, 1], seed=3), 1200))
    assert [{i in upright for i in other[4 * n : 4 * n + 4]} for n in range(300)] == kinds  # one kind in all processes
    lacking = GroupMultiSourceSampler(Joined(upright=(5, 6)), batch_size=2, source_ratio=[1, 1], seed=3)
    assert all(index < 5 for index in list(itertools.islice(lacking, 40))[::2])


def test_multi_source_sampler_refuses(process):
    for arguments in ((Sizes(4), 2, [1, 1]), (Joined(), 0, [1, 1]), (Joined(), 2, [1]), (Joined(), 2, [1, 0])):
        with pytest.raises(AssertionError):
            MultiSourceSampler(*arguments, seed=0)
    process(0, 2)
    with pytest.raises(ConfigError, match='several processes'):
        AspectRatioBatchSampler(MultiSourceSampler(Joined(), 2, [1, 1], seed=0), 2)


@pytest.mark.parametrize(
    ('kind', 'dataset', 'options'),
    [
        (ClassAwareSampler, Labelled(8), {}),
        (MultiSourceSampler, Joined(), dict(batch_size=2, source_ratio=[1, 1])),
        (GroupMultiSourceSampler, Joined(), dict(batch_size=2, source_ratio=[1, 1])),
    ],
)
def test_a_resumed_loader_goes_on_where_the_other_stopped(kind, dataset, options):
    def loader():
        indices = type('Indices', (), {'__len__': lambda _: len(dataset), '__getitem__': lambda _, index: index})()
        return torch.utils.data.DataLoader(indices, 2, sampler=kind(dataset, seed=3, **options), collate_fn=list)

    unbroken = list(itertools.islice(loader(), 4))
    resumed = loader()
    assert skip_batches(resumed, 3)
    last = next(iter(resumed))
    assert last == unbroken[3] and [i.seed for i in last] == [i.seed for i in unbroken[3]]
