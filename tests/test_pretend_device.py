"""The pretend CUDA device refuses what CUDA refuses, and computes the rest."""

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn

from .pretend_device import pretend_cuda

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='there is a real CUDA device')


@pytest.fixture(autouse=True)
def asked():
    with pretend_cuda() as asked:
        yield asked


REFUSED = {
    'operands on two devices': (lambda there, here: there + here, RuntimeError, 'same device'),
    'concatenation': (lambda there, here: torch.cat([there, here]), RuntimeError, 'same device'),
    'in place on the CPU': (lambda there, here: here.add_(there[0]), RuntimeError, 'same device'),
    'index of a CPU tensor': (lambda there, here: here[there > 0], RuntimeError, 'indices should be'),
    'values by index': (lambda there, here: there.__setitem__(there > 0, here), RuntimeError, 'same device'),
    'numpy': (lambda there, here: there.numpy(), TypeError, 'host memory'),
    'array': (lambda there, here: np.asarray(there), TypeError, 'host memory'),
    'product of integers': (lambda there, here: there.long() @ there.long(), RuntimeError, 'not implemented'),
    'CPU generator': (
        lambda there, here: torch.rand(3, generator=torch.Generator(), device='cuda'), RuntimeError, 'generator',
    ),
    'CUDA generator on the CPU': (
        lambda there, here: torch.rand(3, generator=torch.Generator('cuda')), RuntimeError, 'generator',
    ),
    'weights elsewhere': (lambda there, here: nn.Linear(3, 1)(there), RuntimeError, 'same device'),
}  # fmt: skip


@pytest.mark.parametrize('case', REFUSED)
def test_refused(case):
    function, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        function(torch.ones(3, device='cuda'), torch.ones(3))


def test_allowed():
    there, here = torch.arange(3.0, device='cuda'), torch.arange(3.0)
    assert there.is_cuda and there.get_device() == 0 and not here.is_cuda and here.get_device() == -1
    assert str(there.device) == 'cuda:0' and str(there.cpu().device) == 'cpu' and here.cuda().is_cuda
    for result in (
        there + torch.tensor(2.0),
        there * 2,
        there[torch.tensor([0, 2])],
        here.to(there),
        here.type_as(there),
    ):
        assert result.is_cuda
    there[:2] = here[1:]
    assert there.tolist() == [1, 2, 2] and not here.copy_(there).is_cuda and here.tolist() == [1, 2, 2]
    assert torch.rand(2, generator=torch.Generator('cuda').manual_seed(0), device='cuda').is_cuda
    copied = there.cpu()
    copied[0] = 7
    assert there[0] == 1 and np.asarray(copied)[0] == 7


def test_modules_train_copy_and_save():
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    optimizer, parameters = torch.optim.AdamW(layer.parameters()), list(layer.parameters())
    assert all(one is other for one, other in zip(layer.to('cuda').parameters(), parameters))
    assert all(parameter.is_cuda and isinstance(parameter, nn.Parameter) for parameter in parameters)
    torch.utils.checkpoint.checkpoint(
        layer, torch.rand(2, 3, 8, 8, device='cuda'), use_reentrant=False
    ).sum().backward()
    before = layer[0].weight.clone()
    optimizer.step()
    assert layer[0].weight.grad.is_cuda and not torch.equal(before, layer[0].weight)
    other = copy.deepcopy(layer)
    assert other[0].weight.is_cuda and other[0].weight is not layer[0].weight
    stream = io.BytesIO()
    torch.save(layer.state_dict(), stream)
    for place, on_cuda in (('cpu', False), ('cuda', True)):
        stream.seek(0)
        loaded = torch.load(stream, map_location=place, weights_only=True)
        assert loaded['0.weight'].is_cuda is on_cuda
        other.load_state_dict(loaded)
        assert torch.equal(other[0].weight, layer[0].weight)
    assert not any(tensor.is_cuda for tensor in other.cpu().state_dict().values())
    assert type(other[0].weight) is nn.Parameter


def test_nothing_is_left_behind(asked):
    torch.cuda.synchronize('cuda:1')
    assert torch.cuda.is_available() and asked['synchronize'] == ['cuda:1']
    before = torch.cuda.is_available
    with pretend_cuda():
        assert torch.cuda.is_available is not before
    assert torch.cuda.is_available is before


@pytest.mark.parametrize(
    ('function', 'gradient'),
    [
        (lambda x: x.cumsum(0), False),
        (lambda x: F.interpolate(x, size=(5, 5), mode='bicubic'), True),
        (lambda x: F.adaptive_avg_pool2d(x, 2), True),
        (lambda x: F.grid_sample(x, x.new_zeros(1, 2, 2, 2), align_corners=False), True),
    ],
)
def test_not_deterministic(function, gradient):
    x = torch.rand(1, 1, 3, 3, device='cuda')
    function(x.clone().requires_grad_())
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match='deterministic'):
            function(x.clone().requires_grad_())
        if gradient:
            function(x)
        assert F.adaptive_avg_pool2d(x.requires_grad_(), 1).is_cuda  # a mean
    finally:
        torch.use_deterministic_algorithms(False)
