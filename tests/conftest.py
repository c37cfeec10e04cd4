"""Shared fixtures: one thread a process (the suite runs in parallel), the sample data, the default scope, and the device.

A test that takes the fixture ``device`` runs on the CPU and on a GPU: on a real one where CUDA is visible (marked ``gpu``, so that
``pytest -m gpu`` runs just these), elsewhere on the pretend one of :mod:`tests.pretend_device`. TF32 is off, so that a GPU computes
float32 as a CPU does.
"""

import copy
import functools
import gc
import os
import sys
from pathlib import Path

import pytest

# Each process that a test starts would compile the whole package anew.
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
sys.dont_write_bytecode = False
os.environ.setdefault('OMP_NUM_THREADS', '1')
# For tests of deterministic algorithms on a GPU: cuBLAS reads it when it starts.
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')

import torch  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402

# Of the garbage that a forked process inherits, sessions of ONNX Runtime would wait for ever for threads that it does not have.
os.register_at_fork(after_in_child=gc.freeze)
torch.set_num_threads(1)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

REPOSITORY = Path(__file__).resolve().parents[1]


def _remember_the_repository_s_configs() -> None:
    """Have each file below ``configs`` read once a process: hundreds of configs share a few dozen base files."""
    from mmengine.config import Config

    import mmdet.config  # noqa: F401  (it has its own way of reading, which is the one to be called)

    read, folder = Config._file2dict, f'{REPOSITORY / "configs"}{os.sep}'

    @functools.cache
    def read_once(*arguments) -> tuple:
        return read(*arguments)

    def remember(filename, use_predefined_variables=True, use_environment_variables=True, lazy_import=None) -> tuple:
        options = (use_predefined_variables, use_environment_variables, lazy_import)
        path = os.path.abspath(filename)
        return copy.deepcopy(read_once(path, *options)) if path.startswith(folder) else read(filename, *options)

    Config._file2dict = staticmethod(remember)


_remember_the_repository_s_configs()


@pytest.fixture(scope='session')
def repository() -> Path:
    """Root folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope='session')
def sample_data() -> Path:
    """Folder of the real sample data; skips where it is missing."""
    folder = Path(os.environ.get('MMDET_SAMPLE_DATA', REPOSITORY.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no sample data at {folder}; set MMDET_SAMPLE_DATA')
    return folder


@pytest.fixture(scope='session', autouse=True)
def _modules_registered():
    """Also exempt what is imported and collected from garbage collection: mmengine collects whenever a data set is built, which took up to half a second."""
    from mmdet.utils import register_all_modules

    register_all_modules()
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown():
    """Forget the log files of runs that have ended: mmengine writes the initial weights of later models into each that it knows."""
    for logger in MMLogger._instance_dict.values():
        logger.handlers = [handler for handler in logger.handlers if getattr(handler, 'stream', True) is not None]


def pytest_generate_tests(metafunc):
    """Run tests of a ``device`` on the CPU and on the GPU, real or pretended."""
    if 'device' in metafunc.fixturenames:
        gpu = pytest.param('cuda', marks=pytest.mark.gpu) if torch.cuda.is_available() else 'pretend-cuda'
        metafunc.parametrize('device', ['cpu', gpu], indirect=True)


@pytest.fixture
def device(request):
    """``'cpu'`` or ``'cuda'``; see the head of this file."""
    if request.param != 'pretend-cuda':
        yield request.param
        return
    from .pretend_device import pretend_cuda

    with pretend_cuda():
        yield 'cuda'


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked ``gpu`` where no CUDA device is visible, and begin with the files that have tests marked ``slow``.

    A long test that came last would leave the other processes without work. Files stay together: their fixtures are made once.
    """
    gpu = [] if torch.cuda.is_available() else [item for item in items if 'gpu' in item.keywords]
    if gpu:
        config.hook.pytest_deselected(items=gpu)
        items[:] = [item for item in items if 'gpu' not in item.keywords]
    slow = {item.path for item in items if 'slow' in item.keywords}
    items.sort(key=lambda item: item.path not in slow)
