"""SimpleFPN: the levels of ViTDet, section 3, by their formulas."""

import pytest
import torch
import torch.nn.functional as F

from mmdet.errors import ConfigError
from mmdet.models.necks import SimpleFPN


def norm(x: torch.Tensor) -> torch.Tensor:
    """A layer norm over channels, as it starts."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], eps=1e-6).movedim(-1, 1)


def test_levels_by_their_formulas():
    torch.manual_seed(0)
    neck, x = SimpleFPN([3, 8], out_channels=5, scales=(4, 2, 1, 0.5)), torch.randn(2, 8, 3, 5)
    up, _, _, up_again, *_ = neck.levels[0]
    resized = [
        F.conv_transpose2d(F.gelu(norm(F.conv_transpose2d(x, up.weight, up.bias, 2))), up_again.weight, up_again.bias, 2),
        F.conv_transpose2d(x, neck.levels[1][0].weight, neck.levels[1][0].bias, 2),
        x,
        F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2),  # rounded up
    ]  # fmt: skip
    found = neck((torch.zeros(2, 3, 12, 20), x))
    assert [tuple(one.shape) for one in found] == [(2, 5, 12, 20), (2, 5, 6, 10), (2, 5, 3, 5), (2, 5, 2, 3)]
    assert [up.out_channels, up_again.out_channels] == [4, 2]
    for one, level, expected in zip(found, neck.levels, resized, strict=True):
        narrow, wide = level[-4], level[-2]
        assert narrow.bias is None and wide.bias is None
        expected = norm(F.conv2d(norm(F.conv2d(expected, narrow.weight)), wide.weight, padding=1))
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(scales=()), 'powers of two'),
        (dict(scales=(3, 1)), 'powers of two'),
        (dict(scales=(2, 0)), 'powers of two'),
        (dict(scales=('2',)), 'powers of two'),
        (dict(scales=2), 'powers of two'),
        (dict(scales=(4, 1), in_channels=6), 'multiple of the largest scale, 4'),
        (dict(in_channels=[]), 'multiple of the largest scale, 2'),
        (dict(in_channels='auto'), 'multiple of the largest scale, 2'),
    ],
)
def test_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SimpleFPN(**dict(dict(in_channels=8), **options))
