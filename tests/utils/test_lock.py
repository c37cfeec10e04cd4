"""One run at a time; what living, dead and unknown owners of a lock file mean."""

import contextlib
import errno
import json
import os
import signal

import pytest

from mmdet.errors import ConfigError
from mmdet.utils import lock
from mmdet.utils.files import host_name, start_of
from mmdet.utils.lock import LOCK_NAME, locked


@contextlib.contextmanager
def another_process(act):
    """A forked process that has called ``act`` and waits; gives its number. It is killed at the end."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with act() or contextlib.nullcontext():
                os.write(write, b'1')
                signal.pause()
        finally:
            os._exit(1)
    try:
        assert os.read(read, 1) == b'1'
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'new' / LOCK_NAME


def take(path) -> str | None:
    with locked(path) as note:
        assert json.loads(path.read_text())['pid'] == os.getpid()
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]
        return note


def test_the_file_names_the_owner_and_goes_with_the_block(path):
    assert take(path) is None
    with locked(path), locked(path):
        record = json.loads(path.read_text())
        assert record['host'] == host_name() and record['started'] == start_of(os.getpid())
    for error in (SystemExit, KeyboardInterrupt, ValueError):
        with pytest.raises(error), locked(path), locked(path):
            raise error
        assert not any(path.parent.iterdir())


def test_a_living_owner_is_named(path):
    with another_process(lambda: locked(path)) as pid:
        with pytest.raises(
            ConfigError, match=rf'\.lock: in use by process {pid} on {host_name()} since \d{{4}}-\d\d-\d\d .*; wait'
        ):
            take(path)
        assert json.loads(path.read_text())['pid'] == pid and len(list(path.parent.iterdir())) == 1


def test_a_killed_owner_is_followed(path):
    with another_process(lambda: locked(path)) as pid:
        pass
    assert path.exists()
    assert f'taken over from process {pid} on {host_name()} since' in take(path)
    assert take(path) is None


def record(**changes) -> str:
    ppid = os.getppid()
    known = dict(
        pid=ppid, host=host_name(), started=start_of(ppid), machine=lock._machine(), since='2026-01-01 00:00:00 +0000'
    )
    return json.dumps(known | changes)


@pytest.mark.parametrize('locks', [True, False])
@pytest.mark.parametrize(
    ('content', 'refused'),
    [
        (record(), 'in use by process'),
        (record(started=1), None),  # the number belongs to another process by now
        (record(pid=2**22 + 1), None),
        (record(host='elsewhere'), 'in use by process'),  # the same machine, which has got another name
        (
            record(host='elsewhere', pid=2**22 + 1, machine='other'),
            r'whether that still runs cannot be seen from .*delete this file',
        ),
        (record(machine='before the restart'), {True: None, False: 'cannot be seen'}),
        ('', 'is damaged: if no other run writes here, delete this file'),
        ('{"pid": 1}', 'is damaged'),
        ('[]', 'is damaged'),
        (record(pid='x'), 'is damaged'),
        (record(pid=-1), 'is damaged'),
        (record(pid=10**30), 'is damaged'),
        (record(pid=float('inf')), 'is damaged'),
        (record(since='now\nTraceback'), 'is damaged'),
        ('[' * 4096, 'is damaged'),
    ],
)
def test_owners(path, monkeypatch, locks, content, refused):
    """Where nobody holds the kernel's lock; and on file systems without such locks."""
    if not locks:
        monkeypatch.setattr(lock, '_lockf', lambda descriptor: None)
    path.parent.mkdir()
    path.write_text(content)
    refused = refused[locks] if isinstance(refused, dict) else refused
    if refused is None:
        assert 'taken over' in take(path)
    else:
        with pytest.raises(ConfigError, match=refused):
            take(path)
        assert path.read_text() == content


@pytest.mark.parametrize(
    ('make', 'refused'),
    [
        (os.mkfifo, 'is no file'),
        (os.mkdir, 'Is a directory'),
        (lambda path: path.symlink_to(os.devnull), 'is no file'),
        (lambda path: path.symlink_to('nothing'), 'is a link to nothing'),
    ],
)
def test_what_is_no_lock_file_is_refused_at_once(path, make, refused):
    path.parent.mkdir()
    make(path)
    with pytest.raises(ConfigError, match=rf'\.lock: .*{refused}'):
        take(path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_owner_in_another_container_is_known_by_the_kernels_lock(path, monkeypatch):
    """Its process number means nothing here."""
    with another_process(lambda: locked(path)) as pid:
        monkeypatch.setattr(lock, '_machine', lambda: 'another container')
        with pytest.raises(ConfigError, match=f'in use by process {pid}'):
            take(path)
    assert 'taken over' in take(path)


def test_file_systems_without_hard_links(path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refuse)
    with another_process(lambda: locked(path)) as pid, pytest.raises(ConfigError, match=f'in use by process {pid}'):
        take(path)
    assert 'taken over' in take(path)


def test_one_of_many_takes_over(path):
    """Eight processes at once, again and again, at the lock of a dead one."""
    for _ in range(3):
        path.parent.mkdir(exist_ok=True)
        path.write_text(record(started=1))
        begin, go = os.pipe()
        result, told = os.pipe()
        pids = []
        for _ in range(8):
            pids.append(os.fork())
            if pids[-1] == 0:
                try:
                    os.close(go)
                    os.read(begin, 1)  # until the writing end is closed
                    with locked(path):
                        os.write(told, b'+')
                        signal.pause()
                except ConfigError:
                    os.write(told, b'-')
                finally:
                    os._exit(0)
        os.close(go)
        answers = b''.join(os.read(result, 1) for _ in pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert sorted(answers) == sorted(b'+-------')
        for descriptor in (begin, result, told):
            os.close(descriptor)


def test_what_was_deleted_by_hand_and_taken_by_another_stays(path):
    with locked(path):
        path.unlink()
        path.write_text('of another run')
    assert path.read_text() == 'of another run'


def test_all_processes_of_a_run_learn_what_the_first_found(path):
    with (
        pytest.raises(ConfigError, match='in use by somebody'),
        locked(path, first=False, share=lambda facts: [None, 'in use by somebody']),
    ):
        pass
    with locked(path, first=False, share=lambda facts: ['a note', None]) as note:
        assert note == 'a note' and not path.exists()


def test_a_folder_that_cannot_be_written(path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(os, 'open', refuse)
    with pytest.raises(ConfigError, match=r'\.lock: cannot be written \(Read-only file system\)'):
        take(path)
