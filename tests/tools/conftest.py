"""The tiny project and its trained model, once a session."""

from types import SimpleNamespace

import pytest

from tests import processes

from .tiny_project import REPOSITORY, environment, write_project


@pytest.fixture(scope='session')
def project(tmp_path_factory):
    """``folder`` and ``config`` of a tiny project."""
    folder = tmp_path_factory.mktemp('tiny') / 'project'
    return SimpleNamespace(folder=folder, config=write_project(folder))


@pytest.fixture(scope='session')
def trained(project):
    """A finished run of ``tools/train.py``: ``work_dir``, ``checkpoint``, ``output``, ``project``."""
    work_dir = project.folder / 'work'
    command = [REPOSITORY / 'tools' / 'train.py', project.config, '--work-dir', work_dir, '--seed', 3]
    done = processes.run(command, cwd=project.folder, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(
        work_dir=work_dir, checkpoint=work_dir / 'epoch_2.pth', output=done.stdout + done.stderr, project=project
    )
