"""The tiny project and its trained model, once a session."""

import sys
from types import SimpleNamespace

import pytest

from .tiny_project import REPOSITORY, shell, write_project


@pytest.fixture(scope='session')
def project(tmp_path_factory):
    """``folder`` and ``config`` of a tiny project."""
    folder = tmp_path_factory.mktemp('tiny') / 'project'
    return SimpleNamespace(folder=folder, config=write_project(folder))


@pytest.fixture(scope='session')
def trained(project):
    """A finished run of ``tools/train.py``: ``work_dir``, ``checkpoint``, ``output``, ``project``."""
    work_dir = project.folder / 'work'
    done = shell(
        sys.executable,
        REPOSITORY / 'tools' / 'train.py',
        project.config,
        '--work-dir',
        work_dir,
        '--seed',
        3,
        cwd=project.folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(
        work_dir=work_dir, checkpoint=work_dir / 'epoch_2.pth', output=done.stdout + done.stderr, project=project
    )
