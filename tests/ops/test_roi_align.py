"""RoIAlign: cells by hand, and the weights of each axis by their definition."""

import importlib

import pytest
import torch

from mmdet.errors import ConfigError, ModelInputError
from mmdet.ops import RoIAlign, roi_align, torchvision_ops

RAMP = torch.arange(8.0).expand(1, 1, 8, 8)  # every row is 0, 1, ... 7


@pytest.fixture(autouse=True)
def _in_torch(monkeypatch):
    """The implementation in torch, also where torchvision's answers."""
    monkeypatch.setitem(torchvision_ops._KERNELS, 'cpu', {})


def cells(box, size=2, x=RAMP, **options):
    return roi_align(x, torch.tensor([[0.0, *box]]), size, **options)[0, 0]


@pytest.mark.parametrize(
    ('box', 'options', 'first_row'),
    [
        ((2, 2, 6, 6), {}, [2.5, 4.5]),  # cells of two by two pixels, whose centres are at 2, 3 and 4, 5
        ((2, 2, 6, 6), dict(aligned=False), [3.0, 5.0]),
        ((4, 4, 12, 12), dict(spatial_scale=0.5), [2.5, 4.5]),
        ((2, 2, 6, 6), dict(sampling_ratio=1), [2.5, 4.5]),
        ((2, 2, 2, 2), {}, [0.0, 0.0]),  # no sample
        ((2, 2, 2, 2), dict(aligned=False), [2.25, 2.75]),  # one pixel wide
        ((20, 20, 24, 24), {}, [0.0, 0.0]),  # outside
        ((6, 0, 10, 4), {}, [6.5, 3.5]),  # samples at 6, 7, then at 8 (the edge's pixel) and at 9 (0)
        ((6, 6, 2, 2), dict(sampling_ratio=1), [4.5, 2.5]),  # turned round
    ],
)
def test_cells(box, options, first_row):
    assert cells(box, **options)[0].tolist() == pytest.approx(first_row)


def test_shapes_and_types():
    assert roi_align(torch.zeros(2, 3, 8, 8), torch.zeros(0, 5), 7).shape == (0, 3, 7, 7)
    layer = RoIAlign((1, 2), spatial_scale=0.5)
    half = layer(torch.ones(1, 3, 8, 8, dtype=torch.bfloat16), torch.tensor([[0.0, 2, 2, 9, 9]]))
    assert half.dtype == torch.bfloat16 and half.shape == (1, 3, 1, 2) and half.eq(1).all()
    for x, rois in ((torch.zeros(3, 8, 8), torch.zeros(1, 5)), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 4))):
        with pytest.raises(ModelInputError, match='K, 5'):
            roi_align(x, rois, 7)
    with pytest.raises(ConfigError, match='pool_mode'):
        RoIAlign(7, pool_mode='max')


def test_many_boxes_are_those_one_by_one(monkeypatch):
    """Whatever boxes are computed together, of whichever image; the gradient too."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 12, 15, generator=generator, dtype=torch.float64, requires_grad=True)
    corners = torch.rand(30, 2, 2, generator=generator, dtype=torch.float64) * 40 - 6
    images = torch.randint(0, 2, (30, 1), generator=generator)
    rois = torch.cat([images, corners.amin(1), corners.amax(1)], 1)
    alone = torch.cat([roi_align(x, roi[None], (3, 4), 0.5) for roi in rois])
    monkeypatch.setattr(importlib.import_module('mmdet.ops.roi_align'), '_CELLS', 300)
    together = roi_align(x, rois, (3, 4), 0.5)
    torch.testing.assert_close(together, alone)
    weights = torch.randn(alone.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((out * weights).sum(), x)[0] for out in (together, alone)]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(
        lambda maps: roi_align(maps, rois[:3], 2, 0.5), x[:, :1, :6, :7].detach().clone().requires_grad_()
    )
