"""Tools that are stopped, and tools whose peers are gone."""

import ctypes
import os
import signal
import sys
import threading
import time

import pytest
import torch.distributed as torch_dist

from mmdet.config import ending
from mmdet.config.ending import ends_in_one_line, is_lost_peer
from mmdet.utils import reports_user_errors
from mmdet.utils.files import replacing, temporary_folder
from mmdet.utils.lock import LOCK_NAME, locked

GLOO = '[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] '


@pytest.fixture(autouse=True)
def default_handlers():
    """As in a fresh process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(number, code, capsys, monkeypatch):
    cleaned = []

    @reports_user_errors
    def main(error=None):
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), number)  # launcher and scheduler both send it: the cleaning up goes on
            cleaned.append(True)
            if error:
                raise error

    for error in (None, RuntimeError('DataLoader worker (pid 7) is killed by signal: Terminated.')):
        with pytest.raises(SystemExit) as ended:
            main(error)
        assert ended.value.code == code
        assert capsys.readouterr().err == f'Stopped by {signal.Signals(number).name}.\n'
    assert cleaned == [True, True]
    assert (
        signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        and signal.getsignal(signal.SIGINT) == signal.default_int_handler
    )
    monkeypatch.setenv('MMDET_TRACEBACK', '1')
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        main()


def test_a_process_that_hangs_in_a_backend_ends_all_the_same(tmp_path, monkeypatch):
    """Python's handlers do not run while the main thread waits in C++ for another process."""
    monkeypatch.setattr(ending, 'GRACE_SECONDS', 0.1)

    @reports_user_errors
    def main():
        library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        library.pthread_mutex_lock(mutex)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        library.pthread_mutex_lock(mutex)

    pid = os.fork()
    if pid == 0:
        try:
            with (
                locked(tmp_path / LOCK_NAME),
                open(tmp_path / 'stderr', 'w') as sys.stderr,
                replacing(tmp_path / 'file') as unfinished,
            ):
                unfinished.touch()
                with temporary_folder(tmp_path / 'folder'):
                    main()
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 143
    assert (tmp_path / 'stderr').read_text() == 'Stopped by SIGTERM while it waited.\n'
    assert [path.name for path in tmp_path.iterdir()] == ['stderr']


def test_a_process_that_stood_still_has_its_time_to_end(tmp_path, monkeypatch):
    """Job control, a frozen container or a paused machine, between the signal and the end of the cleaning up."""
    monkeypatch.setattr(ending, 'GRACE_SECONDS', 0.5)

    @reports_user_errors
    def main():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            time.sleep(0.05)  # the thread that watches begins to count
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.1)

    pid = os.fork()
    if pid == 0:
        try:
            with open(tmp_path / 'stderr', 'w') as sys.stderr:
                main()
        except SystemExit as ended:
            os._exit(ended.code)
        finally:
            os._exit(9)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    time.sleep(0.7)
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 143
    assert (tmp_path / 'stderr').read_text() == 'Stopped by SIGTERM.\n'


def test_what_was_chosen_before_stays():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nohup, and background jobs of a script
    with ends_in_one_line():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN and signal.getsignal(signal.SIGTERM) != signal.SIG_DFL


def test_forked_workers_end_as_without_a_handler():
    with ends_in_one_line():
        pid = os.fork()
        if pid == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize(
    ('error', 'lost'),
    [
        (RuntimeError(f'{GLOO}Connection closed by peer [127.0.0.1]:2218. This is typically caused by'), True),
        (RuntimeError(f'{GLOO}Read error [127.0.0.1]:17316: Connection reset by peer'), True),
        (RuntimeError(f'{GLOO}Timed out waiting 1800000ms for recv operation to complete'), True),
        (RuntimeError(f'{GLOO}writev [127.0.0.1]:5: Broken pipe'), True),
        (torch_dist.DistNetworkError('failed to recv, got 0 bytes. Connection was likely closed.'), True),
        (torch_dist.DistStoreError('wait timeout after 1800000ms, keys: /default_pg/0//cuda//0'), True),
        (torch_dist.DistBackendError('NCCL error: remote process exited or there was a network error'), True),
        (torch_dist.DistBackendError('NCCL error: invalid usage'), False),
        (RuntimeError('DataLoader timed out after 5 seconds'), False),
        (ValueError('gloo: Connection closed by peer'), False),
    ],
)
def test_lost_peers(error, lost, capsys, monkeypatch):
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '2')

    @reports_user_errors
    def main():
        raise error

    assert is_lost_peer(error) == lost
    with pytest.raises(SystemExit if lost else type(error)) as ended:
        main()
    shown = capsys.readouterr().err
    if lost:
        assert ended.value.code == 1 and shown.count('\n') == 1
        assert shown.startswith(
            'LostPeerError: process 0 of 2: another process of the run has ended or does not answer'
        )
        assert 'third_party' not in shown and 'typically' not in shown
    else:
        assert not shown
