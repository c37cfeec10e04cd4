"""What the tracer keeps of functions of torch: sizes instead of the numbers of an example, in the types that were asked for."""

import pytest
import torch
import torch.nn.functional as F

from mmdet.utils.tracing import Traceable, whole


def resized(x, mode, size_hw):
    return F.interpolate(x, size_hw, mode=mode, align_corners=False, antialias=True)


def whole_half(x):
    return torch.arange(whole(x.shape[2] * 0.5))


def without_registers(x):
    return torch.cat([x, x.new_zeros(*x.shape[:3], 0), x], -1)


# Each of an image (1, 2, h, w).
FUNCTIONS = {
    'smaller': lambda x: resized(x, 'bicubic', (x.shape[2] // 2, x.shape[3] // 3)),
    'larger': lambda x: resized(x, 'bicubic', (x.shape[2] * 2, x.shape[3] * 3)),
    'one side': lambda x: resized(x, 'bilinear', (x.shape[2], x.shape[3] // 2)),
    'a square': lambda x: resized(x, 'bilinear', x.shape[2] // 2),
    'as it is': lambda x: F.interpolate(x, (x.shape[2] * 2, x.shape[3]), mode='bicubic', align_corners=False),
    'linspace': lambda x: torch.linspace(0.5, x.shape[2] - 0.5, x.shape[2], dtype=x.dtype, device=x.device),
    'one step': lambda x: torch.linspace(3, x.shape[2], x.shape[2] // x.shape[2]),
    'sizes': lambda x: torch.as_tensor([(x.shape[2], x.shape[3]), (1, x.shape[2])], dtype=torch.long),
    'numbers': lambda x: torch.tensor([[x.shape[3], x.shape[2]]], device=x.device) * x.mean(),
    'no sizes': lambda x: torch.tensor([[1.5, 2]]) * x.shape[2],
    'whole': whole_half,
    'cat': without_registers,
    'cat of nothing': lambda x: torch.cat([x[:0], x[:0]]),
}


@pytest.mark.parametrize('name', FUNCTIONS)
@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_trace_holds_for_other_sizes(name):
    function, generator = FUNCTIONS[name], torch.Generator().manual_seed(0)
    example, other = (torch.randn(1, 2, *size, generator=generator) for size in ((6, 9), (14, 12)))
    with Traceable():
        traced = torch.jit.trace(function, example, check_trace=False)
    for image in (example, other):
        wanted = function(image)
        found = traced(image)
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_elsewhere_nothing_changes():
    image = torch.randn(1, 2, 6, 9, generator=torch.Generator().manual_seed(0))
    with Traceable():
        assert resized(image, 'bicubic', (4, 4)).equal(F.interpolate(image, (4, 4), mode='bicubic', antialias=True))
    assert (whole(), whole('10', 2), whole(2.7), whole(torch.tensor(3))) == (0, 2, 2, 3)
