"""Training, checkpoints and timing on every device, through the runner and the tools' functions."""

import itertools
import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from mmengine.device import get_device

from mmdet.apis.benchmark import build_model, measure, synthetic_batches
from mmdet.apis.inference import choose_device
from mmdet.engine.checkpoint import load_checkpoint_file
from mmdet.models.detectors.composite import CompositeDetector
from mmdet.utils import load_config
from tests.tools.tiny_project import fresh_instances, write_project

from .toy import toy_runner


@pytest.fixture
def on_device(device, monkeypatch):
    """The device, as mmengine's choice too: on a machine with a GPU it would train there in the case of the CPU as well."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', device)
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    yield device
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp('devices') / 'project')


def detector_run(project, work_dir, iterations, **options):
    """Train the small detector for some iterations; the runner."""
    from mmdet.engine import DetRunner

    cfg = load_config(project)
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'train_cfg': dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations, _delete_=True),
            'default_hooks.checkpoint': dict(by_epoch=False, interval=1),
            'train_dataloader.batch_size': 2,
            'randomness': dict(seed=3, deterministic=True),
            'log_level': 'ERROR',
            **options,
        }
    )
    with fresh_instances():
        runner = DetRunner.from_cfg(cfg)
        runner.train()
    return runner


def test_detector_trains_resumes_and_validates_deterministically(on_device, project, tmp_path):
    """Three iterations at once are those of two and one: bit by bit also on a GPU, under mixed precision and averaging."""
    amp = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
    whole = detector_run(project, tmp_path / 'whole', 3, **amp)
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    assert all(parameter.device.type == on_device for parameter in whole.model.parameters())
    second = tmp_path / 'whole' / 'iter_2.pth'
    resumed = detector_run(project, tmp_path / 'resumed', 3, **amp, load_from=str(second), resume=True)
    assert resumed.iter == 3
    expected, received = (
        load_checkpoint_file(tmp_path / folder / 'iter_3.pth') for folder in ('whole', 'resumed')
    )  # fmt: skip
    for key in ('state_dict', 'ema_state_dict'):
        for name, value in expected[key].items():
            assert value.device.type == 'cpu' and torch.equal(value, received[key][name]), name


def test_checkpoint_of_one_device_is_read_on_another(on_device, tmp_path):
    runner = toy_runner(tmp_path, epochs=1, ema=False)
    runner.train()
    path = tmp_path / 'epoch_1.pth'
    weights = {name: value.cpu() for name, value in runner.model.state_dict().items()}
    for place in ('cpu', on_device):
        loaded = load_checkpoint_file(path, map_location=place)['state_dict']
        assert all(value.device.type == place for value in loaded.values())
        other = toy_runner(tmp_path / place, epochs=1, ema=False)
        other.load_checkpoint(str(path), map_location=place)
        received = {name: value.cpu() for name, value in other.model.state_dict().items()}
        assert received.keys() == weights.keys()
        assert all(torch.equal(received[name], value) for name, value in weights.items())


def test_benchmark(on_device, project):
    cfg = load_config(project)
    assert get_device() == on_device == choose_device(None).type or on_device == 'cpu'
    model = build_model(cfg)
    assert next(model.parameters()).device.type == on_device
    batches = itertools.islice(synthetic_batches((64, 64), 1), 3)
    result = measure(batches, model.test_step, num_warmup=1, device=on_device, log=lambda line: None)
    assert result.images == 2 and result.fps > 0 and result.peak_memory_mb > 0


def test_time_and_memory_are_those_of_the_chosen_gpu(monkeypatch, project):
    """Figures of cuda:1 are not asked of the current device, cuda:0."""
    asked = {}
    for name, value in (('synchronize', None), ('max_memory_allocated', 2**20), ('get_device_name', 'a GPU')):
        monkeypatch.setattr(
            torch.cuda,
            name,
            lambda device=None, name=name, value=value: asked.setdefault(name, []).append(device) or value,
        )
    on_cuda_1 = SimpleNamespace(
        parameters=lambda: iter([SimpleNamespace(device=torch.device('cuda:1'))]),
        record_times=True,
        stage_times=defaultdict(list),
    )
    with CompositeDetector.timed(on_cuda_1, 'coarse'):
        pass
    assert len(asked['synchronize']) == 2 and len(on_cuda_1.stage_times['coarse']) == 1
    result = measure(
        iter([dict(inputs=[0])] * 2), lambda batch: None, num_warmup=1, device='cuda:1', log=lambda line: None
    )
    assert result.peak_memory_mb == 1 and result.device == 'a GPU'
    assert {str(device) for devices in asked.values() for device in devices} == {'cuda:1'} and len(asked) == 3
