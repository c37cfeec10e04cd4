"""Types that a config names by their path."""

import pytest
import torch

from mmdet.models.detectors import GFL
from mmdet.registry import DATASETS, HOOKS, MODELS, OPTIMIZERS
from mmdet.utils import ConfigError


class Mine(torch.nn.Module):
    """A class of a user, not registered."""


class Stranger:
    """A class that has nothing to do with networks."""


@pytest.mark.parametrize(
    ('registry', 'path', 'kind'),
    [
        (OPTIMIZERS, 'torch.optim.sgd.SGD', torch.optim.SGD),
        (MODELS, 'mmdet.models.detectors.GFL', GFL),
        (MODELS, 'torch.nn.Linear', torch.nn.Linear),
        (MODELS, 'tests.test_registry.Mine', Mine),
    ],
)
def test_types_of_the_libraries(registry, path, kind):
    assert registry.get(path) is kind


@pytest.mark.parametrize('registry', [MODELS, DATASETS, HOOKS])
@pytest.mark.parametrize(
    'config',
    [
        dict(type='os.mkdir', path='MADE'),
        dict(type='mmengine.os.mkdir', path='MADE'),
        dict(type='mmengine.utils.mkdir_or_exist', dir_name='MADE'),
        dict(type='mmdet.os.mkdir', path='MADE'),
        dict(type='pathlib.Path.mkdir', self='MADE'),
        dict(type='subprocess.Popen', args=['mkdir', 'MADE']),
        dict(type='tests.test_registry.Stranger'),
        dict(type='os.mkdir', path='MADE', _scope_='mmengine'),
        dict(type='os'),
        dict(type=''),
        dict(type='a..b'),
    ],
)
def test_other_callables_are_unknown(tmp_path, monkeypatch, registry, config):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='of this name'):
        registry.build(config)
    assert list(tmp_path.iterdir()) == []
