import pytest
import torch

from mmdet.models.utils import gaussian_target as targets
from mmdet.models.utils.point_sample import get_uncertain_point_coords_with_randomness, get_uncertainty, point_sample


@pytest.mark.parametrize(
    ('size', 'overlap', 'expected'),
    [((10, 20), 0.3, 2.890228), ((10, 20), 0.7, 1.077384), ((3, 3), 0.7, 0.245010), ((100.5, 7), 0.7, 1.000242)],
)
def test_gaussian_radius_golden(size, overlap, expected):
    assert targets.gaussian_radius(size, overlap) == pytest.approx(expected, rel=1e-6)


def test_bumps_are_drawn_in_place_and_keep_the_larger_value():
    heatmap = torch.zeros(5, 6)
    assert targets.gen_gaussian_target(heatmap, [0, 4], 2, k=2) is heatmap
    assert heatmap[4, 0] == 2 and heatmap[2, 0] == pytest.approx(
        2 * torch.exp(torch.tensor(-4 / (2 * (5 / 6) ** 2))).item()
    )
    before = heatmap.clone()
    targets.gen_gaussian_target(heatmap, [1, 4], 2, k=0.1)
    assert (heatmap >= before).all() and heatmap[4, 0] == 2
    assert targets.gaussian2D(1, 0.05).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_peaks_of_a_heatmap():
    heat = torch.zeros(1, 2, 3, 4)
    heat[0, 1, 2, 3], heat[0, 1, 2, 2], heat[0, 0, 0, 1] = 0.9, 0.5, 0.7
    maxima = targets.get_local_maximum(heat)
    assert maxima[0, 1, 2].tolist() == pytest.approx([0, 0, 0, 0.9])
    scores, places, classes, ys, xs = targets.get_topk_from_heatmap(maxima, 2)
    assert scores.tolist() == [pytest.approx([0.9, 0.7])]
    assert (places.tolist(), classes.tolist(), ys.tolist(), xs.tolist()) == ([[11, 1]], [[1, 0]], [[2, 0]], [[3, 1]])
    found = targets.transpose_and_gather_feat(heat, places)
    assert found.tolist() == [[pytest.approx([0, 0.9]), pytest.approx([0.7, 0])]]
    assert targets.gather_feat(torch.eye(3)[None], torch.tensor([[2, 0]]), torch.tensor([[True, False]])).tolist() == [
        [0, 0, 1]
    ]


def test_uncertain_points():
    logits = torch.full((1, 2, 4, 4), 9.0)
    logits[0, 1, :, 2:] = -9.0  # the border between the columns 1 and 2 is uncertain
    assert get_uncertainty(logits, torch.tensor([1])).shape == (1, 1, 4, 4)
    torch.manual_seed(0)
    points = get_uncertain_point_coords_with_randomness(logits, torch.tensor([1]), 40, 8.0, 1.0)
    # Beyond the map everything is 0, so that its edges are uncertain, too.
    assert points.shape == (1, 40, 2)
    x, y = points.unbind(-1)
    certain = ((x - 0.5).abs() > 0.125) & ((x - 0.5).abs() < 0.375) & ((y - 0.5).abs() < 0.375)
    assert not certain.any() and ((x - 0.5).abs() < 0.125).float().mean() > 0.3
    assert get_uncertain_point_coords_with_randomness(logits[:0], torch.zeros(0).long(), 4, 2.0, 0.5).shape == (0, 4, 2)
    assert point_sample(logits, torch.tensor([[[0.125, 0.125]]])).flatten().tolist() == [9, 9]
