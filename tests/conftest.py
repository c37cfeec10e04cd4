"""Shared fixtures: one thread a process (the suite runs in parallel), the sample data, and the default scope."""

import os
from pathlib import Path

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch  # noqa: E402

torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parents[1]


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
    from mmdet.utils import register_all_modules

    register_all_modules()


def pytest_collection_modifyitems(items):
    """Skip what is marked ``gpu`` where no CUDA device is visible."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason='needs a CUDA device')
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(skip)
