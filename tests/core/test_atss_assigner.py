import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core import AnchorGenerator, ATSSAssigner
from mmdet.core.assigners import nearest
from mmdet.errors import ArgumentError
from mmdet.utils import ConfigError

PRIORS = torch.tensor([[0, 0, 10, 10], [10, 10, 20, 20], [5, 5, 15, 15], [32, 32, 38, 42]], dtype=torch.float32)


def instances(bboxes, labels):
    return InstanceData(
        bboxes=torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long)
    )


def assign(priors, gt, ignore=None, levels=None, **arguments):
    assigner = ATSSAssigner(topk=9, **arguments)
    return assigner.assign(InstanceData(priors=priors), levels or [len(priors)], gt, ignore)


def test_no_ground_truth():
    result = assign(PRIORS, instances([], []))
    assert result.gt_inds.tolist() == [0, 0, 0, 0]
    assert result.labels.tolist() == [-1, -1, -1, -1]
    assert result.max_overlaps.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize('gt', [instances([[0, 0, 10, 9], [0, 10, 10, 19]], [2, 3]), instances([], [])])
@pytest.mark.parametrize('ignore', [None, instances([[30, 30, 40, 40]], [0])])
def test_no_priors(gt, ignore):
    result = assign(PRIORS[:0], gt, ignore)
    assert len(result.gt_inds) == len(result.labels) == 0


def test_by_hand():
    result = assign(PRIORS, instances([[0, 0, 10, 9], [0, 10, 10, 19]], [2, 3]))
    assert result.gt_inds.tolist() == [1, 0, 0, 0]
    assert result.labels.tolist() == [2, -1, -1, -1]
    torch.testing.assert_close(result.max_overlaps, torch.tensor([0.9, 0, 0, 0]))
    assert result.pos_inds.tolist() == [0]


def test_ignored_boxes_count_only_when_asked(device):
    priors = PRIORS.clone()
    priors[3] = torch.tensor([30.0, 32, 40, 42])
    gt, ignore = instances([[0, 0, 10, 9], [0, 10, 10, 19]], [2, 3]), instances([[30, 30, 40, 40]], [0])
    priors, gt, ignore = priors.to(device), gt.to(device), ignore.to(device)
    assert assign(priors, gt, ignore).gt_inds.tolist() == [1, 0, 0, 0]
    assert assign(priors, gt, ignore, ignore_iof_thr=0.5).gt_inds.tolist() == [1, 0, 0, -1]
    # Two boxes that hold three tenths of the prior each: no single one exceeds the half.
    two = instances([[30, 32, 40, 35], [30, 39, 40, 42]], [0, 0]).to(device)
    assert assign(priors, gt, two, ignore_iof_thr=0.5).gt_inds.tolist() == [1, 0, 0, 0]


def test_prior_is_ignored_by_its_largest_share_in_an_ignored_box():
    """Shares are of the prior's own area and must exceed the limit; an ignored prior is no candidate either."""
    priors = torch.tensor([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], dtype=torch.float32)
    # The shares are 0.5 of prior 0, 0.6 of prior 1, nothing of prior 2, and the whole of prior 3, which lies in a huge box.
    ignore = instances([[0, 0, 5, 10], [24, 0, 36, 10], [55, -100, 900, 500]], [0, 0, 0])
    gt = instances([[42, 0, 50, 10]], [5])
    for limit, expected in (
        (0.45, [-1, -1, 1, -1]), (0.5, [0, -1, 1, -1]), (0.61, [0, 0, 1, -1]), (1.0, [0, 0, 1, 0]), (0.0, [0, 0, 1, 0]),
    ):  # fmt: skip
        assert assign(priors, gt, ignore, ignore_iof_thr=limit).gt_inds.tolist() == expected
    # Ignored priors leave their places among the candidates to the next nearest ones.
    priors = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [3, 0, 13, 10], [0, 3, 10, 13]], dtype=torch.float32)
    gt, ignore = instances([[0, 0, 10, 10]], [5]), instances([[-9, -9, 10, 10]], [0])
    assigner = ATSSAssigner(topk=2, ignore_iof_thr=0.75)
    assert assigner.assign(InstanceData(priors=priors), [4], gt, ignore).gt_inds.tolist() == [-1, -1, 1, 1]
    assert assigner.assign(InstanceData(priors=priors), [4], gt).gt_inds.tolist() == [0, 0, 0, 0]


def test_equal_candidates_reach_the_threshold():
    """Of two priors with the same overlap the deviation is 0: both have the mean, and that is enough."""
    priors = torch.tensor([[0, 0, 10, 10], [2, 0, 12, 10]], dtype=torch.float32)
    result = assign(priors, instances([[1, 0, 11, 10]], [3]))
    assert result.gt_inds.tolist() == [1, 1] and result.labels.tolist() == [3, 3]


@pytest.mark.parametrize(('box', 'inside'), [([4.98, 0, 20, 10], 1), ([5, 0, 20, 10], 0), ([4.995, 0, 20, 10], 0)])
def test_centre_of_a_positive_lies_inside_by_a_hundredth_of_a_pixel(box, inside):
    """The first prior's centre is (5, 5); the far ones make it stand out."""
    priors = torch.tensor([[0, 0, 10, 10], [500, 500, 510, 510], [600, 500, 610, 510]], dtype=torch.float32)
    turned = [box[1], box[0], box[3], box[2]]
    mirrored = [10 - box[2], 10 - box[3], 10 - box[0], 10 - box[1]]
    for gt in (box, turned, mirrored):
        assert assign(priors, instances([gt], [0])).gt_inds.tolist() == [inside, 0, 0]


def test_candidates_are_the_nearest_of_every_level():
    """With one candidate a level the nearest prior of each is taken; the threshold then picks the level whose size fits."""
    levels = [
        torch.tensor([[0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]], dtype=torch.float32),
        torch.tensor([[0, 0, 16, 16], [16, 0, 32, 16]], dtype=torch.float32),
        torch.tensor([[0, 0, 32, 32]], dtype=torch.float32),
    ]
    gt = instances([[17, 1, 33, 15], [9, 0, 15, 8]], [1, 2])
    result = ATSSAssigner(topk=1).assign(InstanceData(priors=torch.cat(levels)), [3, 2, 1], gt)
    assert result.gt_inds.tolist() == [0, 2, 0, 0, 1, 0]
    assert result.labels.tolist() == [-1, 2, -1, -1, 1, -1]


def test_other_overlap_measure():
    """Inclusive pixels: a prior of zero width and height is one pixel large; by default it overlaps nothing."""
    priors = torch.tensor([[3, 3, 3, 3], [90, 90, 91, 91], [80, 80, 81, 81]], dtype=torch.float32)
    gt = instances([[2.9, 2.9, 3.1, 3.1]], [0])
    assert assign(priors, gt).max_overlaps.tolist() == [0, 0, 0]
    result = assign(priors, gt, iou_calculator=dict(type='BboxOverlaps2D', offset=1))
    assert result.max_overlaps.tolist() == [pytest.approx(1 / 1.44), 0, 0]


def test_single_candidate_stands_out_from_nothing():
    assert assign(PRIORS[:1], instances([[0, 0, 10, 10]], [0])).gt_inds.tolist() == [0]


def test_box_of_zero_area_gets_nothing():
    assert assign(PRIORS, instances([[5, 5, 5, 5]], [0])).gt_inds.tolist() == [0, 0, 0, 0]


def test_contested_prior_goes_to_the_larger_overlap_and_the_first_of_equals():
    # Box 1 overlaps prior 0 more than box 0; boxes 1 and 2 are the same.
    gt = instances([[0, 0, 10, 12], [0, 0, 10, 10], [0, 0, 10, 10]], [4, 5, 6])
    result = assign(PRIORS, gt)
    assert result.gt_inds[0] == 2
    assert result.labels[0] == 5
    assert result.max_overlaps[0] == 1


def test_golden_two_images_of_the_head_test(device):
    generator = AnchorGenerator(ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128])
    sizes = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
    levels = generator.grid_priors(sizes, device=device)
    truth = instances([[10, 12, 60, 50], [30, 20, 140, 110], [100, 90, 108, 99]], [3, 17, 79]).to(device)
    result = assign(
        torch.cat(levels), truth,
        levels=[len(level) for level in levels],
    )  # fmt: skip
    assert result.pos_inds.tolist() == [63, 64, 65, 83, 84, 85, 86, 104, 105, 253, 355, 356, 365, 366, 375, 376]
    assert result.gt_inds[result.pos_inds].tolist() == [1] * 9 + [3] + [2] * 6
    expected = [
        0.411488, 0.463867, 0.463867, 0.411488, 0.463867, 0.463867, 0.386679, 0.463867, 0.463867, 0.017578,
        0.604248, 0.586815, 0.604248, 0.586815, 0.604248, 0.586815,
    ]  # fmt: skip
    overlaps = result.max_overlaps[result.pos_inds].cpu()
    torch.testing.assert_close(overlaps, torch.tensor(expected), rtol=0, atol=1e-6)

    flags = generator.valid_flags(sizes, (128, 128), device)
    result = assign(
        torch.cat(levels)[torch.cat(flags)],
        instances([[5, 5, 110, 95]], [0]).to(device),
        levels=[int(flag.sum()) for flag in flags],
    )
    assert result.pos_inds.tolist() == [275, 276, 283, 284, 291, 292]
    overlaps = result.max_overlaps[result.pos_inds].cpu()
    torch.testing.assert_close(overlaps, torch.full((6,), 0.576782), rtol=0, atol=1e-6)


def dense_reference(priors, level_counts, gt_bboxes, topk=9):
    """The definition, written over the full matrix, box by box."""
    from mmdet.core import bbox_overlaps

    overlaps = bbox_overlaps(priors, gt_bboxes)
    best, owner = torch.zeros(len(priors)), torch.zeros(len(priors), dtype=torch.long)
    centers = (priors[:, :2] + priors[:, 2:]) / 2
    for g, box in enumerate(gt_bboxes):
        distance = (centers - (box[:2] + box[2:]) / 2).pow(2).sum(1).sqrt()
        start, chosen = 0, []
        for count in level_counts:
            chosen.append(distance[start : start + count].topk(min(topk, count), largest=False).indices + start)
            start += count
        chosen = torch.cat(chosen)
        threshold = overlaps[chosen, g].mean() + overlaps[chosen, g].std()
        for prior in chosen.tolist():
            x, y = centers[prior]
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if overlaps[prior, g] >= threshold and inside and overlaps[prior, g] > best[prior]:
                best[prior], owner[prior] = overlaps[prior, g], g + 1
    return owner


@pytest.mark.parametrize('limit', [2**24, 500])
def test_equals_the_definition_and_does_not_depend_on_slices(limit, monkeypatch):
    monkeypatch.setattr(nearest, '_MAX_DISTANCES', limit)
    monkeypatch.setattr(nearest, '_find_grids', lambda *_: [])
    generator = AnchorGenerator(ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32])
    levels = generator.grid_priors([(12, 14), (6, 7), (3, 4)], device='cpu')
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=random) * 90
    gt_bboxes = torch.cat([corner, corner + torch.rand(40, 2, generator=random) * 60], dim=1)
    gt = InstanceData(bboxes=gt_bboxes, labels=torch.arange(40))
    counts = [len(level) for level in levels]
    result = assign(torch.cat(levels), gt, levels=counts)
    assert torch.equal(result.gt_inds, dense_reference(torch.cat(levels), counts, gt_bboxes))


def test_two_thousand_boxes():
    """Boxes of 12 x 12 around the centres of the first 40 x 50 priors of stride 8: each gets that prior, as no other centre is in it."""
    generator = AnchorGenerator(ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128])
    levels = generator.grid_priors([(50, 68), (25, 34), (13, 17), (7, 9), (4, 5)], device='cpu')
    row, column = torch.meshgrid(torch.arange(40), torch.arange(50), indexing='ij')
    centre = torch.stack([column, row], dim=-1).reshape(-1, 2) * 8.0
    gt = InstanceData(bboxes=torch.cat([centre - 6, centre + 6], dim=1), labels=torch.arange(2000) % 10)
    result = assign(torch.cat(levels), gt, levels=[len(level) for level in levels])
    own = (row * 68 + column).flatten()
    assert torch.equal(result.pos_inds, own) and result.gt_inds[own].tolist() == list(range(1, 2001))
    assert torch.equal(result.labels[own], gt.labels) and int((result.labels == -1).sum()) == len(result.labels) - 2000
    torch.testing.assert_close(result.max_overlaps[own], torch.full((2000,), 144 / 4096))


def test_refuses_no_candidates():
    with pytest.raises(ConfigError, match='topk'):
        ATSSAssigner(topk=0)


STRIDES = (8, 16, 32, 64)


def random_case(seed):
    """Priors of a map, per level, and boxes; the seed decides what is special about them."""
    random = torch.Generator().manual_seed(seed)
    rows, columns = torch.randint(2, 40, (2,), generator=random).tolist()
    generator = AnchorGenerator(
        ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=list(STRIDES), center_offset=seed % 2 / 2
    )
    sizes = [(-(-rows * 8 // stride), -(-columns * 8 // stride)) for stride in STRIDES]
    levels = generator.grid_priors(sizes, device='cpu')
    if seed % 4 == 1:  # the valid part of the map
        flags = generator.valid_flags(sizes, (rows * 8 - 20, columns * 8 - 70), 'cpu')
        levels = [level[flag] for level, flag in zip(levels, flags)]
    if seed % 4 == 2:  # a level that is no grid
        levels[1] = levels[1][1:]
    image = torch.tensor([columns * 8.0, rows * 8.0])
    center, size = torch.rand(2, 30, 2, generator=random) * image
    if seed % 5 == 1:  # on priors, or in the middle between them, where distances tie
        center, size = (center / 4).round() * 4, (size / 8).round() * 8
    if seed % 5 == 2:  # far outside
        center = 5 * center - 2 * image
    if seed % 5 == 3:  # points and lines
        size = size * torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.2, 0.2]])[torch.randint(3, (30,), generator=random)]
    gt = InstanceData(bboxes=torch.cat([center - size / 2, center + size / 2], dim=1), labels=torch.arange(30))
    return levels, gt


@pytest.mark.parametrize('topk', [1, 4, 9])
def test_windows_of_the_grid_find_what_all_priors_give(topk, monkeypatch):
    in_grids = 0
    for seed in range(60):
        levels, gt = random_case(seed)
        counts, priors = [len(level) for level in levels], InstanceData(priors=torch.cat(levels))
        assigner = ATSSAssigner(topk)
        found = assigner.assign(priors, counts, gt)
        in_grids += len(nearest._find_grids((priors.priors[:, :2] + priors.priors[:, 2:]) / 2, counts))
        with monkeypatch.context() as patch:
            patch.setattr(nearest, '_find_grids', lambda *_: [])
            expected = assigner.assign(priors, counts, gt)
        for name in ('gt_inds', 'labels', 'max_overlaps'):
            assert torch.equal(getattr(found, name), getattr(expected, name)), seed
    assert in_grids > 150


def test_neighbours_beyond_the_border_of_the_grid():
    """Left of the grid the 9 nearest lie in one column: no window of 4 x 4 cells holds them."""
    x, y = torch.meshgrid(torch.arange(30.0), torch.arange(30.0), indexing='xy')
    centers = torch.stack([x, y], dim=-1).reshape(-1, 2)
    found = nearest.nearest_priors(centers, [900], torch.tensor([[-50.0, 12.2], [7.1, 12.2]]), 9)
    assert sorted(found[0].tolist()) == [30 * row for row in range(8, 17)]
    assert sorted(found[1].tolist()) == [30 * row + column for row in (11, 12, 13) for column in (6, 7, 8)]


def test_an_empty_level_has_no_candidates():
    priors = AnchorGenerator([8], [1.0], [8]).grid_priors([(8, 8)], device='cpu')[0]
    gt = instances([[0, 0, 40, 40]], [3])
    expected = ATSSAssigner(9).assign(InstanceData(priors=priors), [64], gt)
    assert expected.gt_inds.any()
    assert torch.equal(ATSSAssigner(9).assign(InstanceData(priors=priors), [0, 64, 0], gt).gt_inds, expected.gt_inds)


def test_alpha_puts_scores_and_predicted_boxes_in_place_of_the_overlap():
    """The prior of the second column fits the box, but the prediction of the first is right and certain."""
    gt = instances([[0, 0, 10, 10]], [1])
    far = [[40, 40, 50, 50]] * 4
    priors = torch.tensor([[-1, -1, 9, 9], [0, 0, 10, 10], *far], dtype=torch.float32)
    bboxes = torch.tensor([[0, 0, 10, 10], [0, 0, 5, 10], *far], dtype=torch.float32)
    predictions = InstanceData(priors=priors, bboxes=bboxes, scores=torch.tensor([[0.0, 20.0]] + [[0.0, 0.0]] * 5))
    result = ATSSAssigner(9, alpha=0.5).assign(predictions, [6], gt)
    assert result.gt_inds.tolist() == [1, 0, 0, 0, 0, 0]
    assert result.max_overlaps[0] == pytest.approx(1)
    assert ATSSAssigner(9).assign(predictions, [6], gt).gt_inds.tolist() == [0, 1, 0, 0, 0, 0]
    with pytest.raises(ArgumentError, match='scores'):
        ATSSAssigner(9, alpha=0.5).assign(InstanceData(priors=priors), [6], gt)


@pytest.mark.parametrize('topk', [1, 9])
def test_bands_resolve_ties_as_all_priors_do(topk):
    """Centres on quarters of the stride, anywhere in the grid and around it: most have equally distant neighbours to choose from."""
    random = torch.Generator().manual_seed(topk)
    for rows, columns in ((40, 60), (70, 50), (12, 90)):
        x, y = torch.meshgrid(torch.arange(columns) * 8.0, torch.arange(rows) * 8.0, indexing='xy')
        centers = torch.stack([x, y], dim=-1).reshape(-1, 2)
        boxes = (torch.rand(60, 2, generator=random) * torch.tensor([columns * 4.4, rows * 4.4])).round() * 2 - 16
        boxes[0] = float('nan')
        expected = nearest._nearest_of_all(centers, boxes, topk)
        assert torch.equal(nearest._nearest_in_bands(centers, columns, boxes, topk), expected)
