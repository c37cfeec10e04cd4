"""Files appear whole or not at all."""

import json
import os
import pickle
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from mmdet.errors import CheckpointError, DataError
from mmdet.utils import files
from mmdet.utils.files import (
    remove_stale_temporaries,
    replacing,
    temporary_path,
    write_atomically,
    write_bytes,
    write_json,
    write_pickle,
    write_text,
)


def ended_process() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, '-S', '-c', ''])
    process.wait()
    return process.pid


def test_nothing_is_an_empty_file(tmp_path):
    write_text(tmp_path / 'new' / 'empty.txt', '')
    assert (tmp_path / 'new' / 'empty.txt').read_bytes() == b''


def test_contents(tmp_path):
    write_text(tmp_path / 'a.txt', 'Größe\n')
    assert (tmp_path / 'a.txt').read_bytes() == b'Gr\xc3\xb6\xc3\x9fe\n'
    write_bytes(tmp_path / 'a.txt', b'\x00\r\n')
    assert (tmp_path / 'a.txt').read_bytes() == b'\x00\r\n'
    write_pickle(tmp_path / 'a.pkl', {'a': 1})
    assert pickle.loads((tmp_path / 'a.pkl').read_bytes()) == {'a': 1}
    write_json(tmp_path / 'a.json', {'a': np.float32(0.5), 'b': [np.int64(3), np.bool_(True), None]})
    assert (tmp_path / 'a.json').read_text() == '{"a": 0.5, "b": [3, true, null]}'


@pytest.mark.parametrize('bad', [{'a': object()}, {'a': float('nan')}, [float('inf')], {(1, 2): 3}])
def test_what_json_does_not_know_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / 'x.json'
    write_json(path, {'a': np.float32(0.5), 'b': np.int64(3)})
    with pytest.raises(
        DataError,
        match=r'x\.json: cannot be written as JSON \((object is not JSON|Out of range|keys must be)[^()]*(: (nan|inf))?\)$',
    ):
        write_json(path, bad)
    assert json.loads(path.read_text()) == {'a': 0.5, 'b': 3} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('kind', [DataError, CheckpointError])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path, kind):
    path = tmp_path / 'x.bin'
    write_bytes(path, b'old')

    def torn(file):
        file.write(b'ne')
        raise OSError(28, 'No space left on device')

    message = (
        r'x\.bin: could not be written \(No space left on device\); an older file is left as it was; \d+ MiB free in '
    )
    with pytest.raises(kind, match=message):
        write_atomically(path, torn, error=kind)
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_other_errors_pass_and_leave_the_old_file(tmp_path):
    path = tmp_path / 'x.bin'
    write_bytes(path, b'old')
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_bytes(b'ne')
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_the_order_of_the_steps(tmp_path, monkeypatch):
    """The content is on the disk before the name, and the name, which the folder holds, before the call returns."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor):
        target = os.readlink(f'/proc/self/fd/{descriptor}')
        calls.append('sync folder' if target == str(tmp_path) else f'sync {os.path.getsize(target)} bytes')
        fsync(descriptor)

    def recorded_replace(source, target):
        calls.append(f'replace {os.path.basename(target)}')
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', recorded_fsync)
    monkeypatch.setattr(os, 'replace', recorded_replace)
    write_bytes(tmp_path / 'a', b'12345')
    assert calls == ['sync 5 bytes', 'replace a', 'sync folder']


def test_a_folder_that_cannot_be_opened_is_not_synced(tmp_path, monkeypatch):
    real = os.open
    refused = lambda path, *args, **kwargs: real('/nowhere' if path == tmp_path else path, *args, **kwargs)  # noqa: E731
    monkeypatch.setattr(os, 'open', refused)
    write_bytes(tmp_path / 'a', b'1')
    assert (tmp_path / 'a').read_bytes() == b'1'


def test_two_writers_of_one_file_do_not_tear_it(tmp_path):
    """With one temporary name for both, the second would write into the file that the first has put in place."""
    path, half, other = tmp_path / 'x.bin', threading.Event(), threading.Event()

    def slowly(file):
        file.write(b'1' * 5)
        half.set()
        assert other.wait(10)
        file.write(b'1' * 5)

    slow = threading.Thread(target=write_atomically, args=(path, slowly))
    slow.start()
    assert half.wait(10)
    write_bytes(path, b'2' * 20)
    assert path.read_bytes() == b'2' * 20
    other.set()
    slow.join()
    assert path.read_bytes() == b'1' * 10 and list(tmp_path.iterdir()) == [path]


def test_temporary_names(tmp_path):
    path = tmp_path / 'a.b.mp4'
    first, second = temporary_path(path), temporary_path(path, keep_suffix=True)
    assert first != temporary_path(path) and first.parent == tmp_path
    assert first.name.startswith('.a.b.mp4.') and first.suffix == '.tmp' and second.name.endswith('.tmp.mp4')
    assert f'-{os.getpid()}-' in first.name
    write_bytes(tmp_path / ('ü' * 120 + '.json'), b'')  # 245 bytes: a longer name would be refused


def test_names_that_are_no_text(tmp_path):
    """As old archives leave them."""
    path = tmp_path / os.fsdecode(b'\xe9.json')
    write_text(path, '{}')
    assert [*tmp_path.iterdir()] == [path]


def test_long_names_of_machines_stay_different(monkeypatch):
    """As those of the pods of one job, which differ at the end."""
    found = set()
    for pod in 'ab':
        monkeypatch.setattr(socket, 'gethostname', lambda pod=pod: f'training-of-the-coarse-detector-{pod}')
        files.host_name.cache_clear()
        found.add(files.host_name())
    assert len(found) == 2 and all(len(name) == 30 for name in found)
    files.host_name.cache_clear()


def test_leftovers_of_dead_writers_are_removed(tmp_path, monkeypatch):
    """Those of a living process, of another machine and of other programs stay."""
    monkeypatch.setattr(socket, 'gethostname', lambda: 'box.some where')
    files.host_name.cache_clear()
    own, own_video = temporary_path(tmp_path / 'a.pth'), temporary_path(tmp_path / 'a.mp4', keep_suffix=True)
    pid, start = own.name.split('-')[-3:-1]
    assert 'box_some_where' in own.name and int(pid) == os.getpid() and int(start) > 0
    dead = f'-{ended_process()}-'
    left = [
        own.with_name(own.name.replace(f'-{pid}-', dead)),
        own.with_name(own_video.name.replace(f'-{pid}-', dead)),
        own.with_name(own.name.replace(f'-{start}-', f'-{int(start) - 1}-')),  # the number was given again
    ]
    kept = [
        own,
        own_video,
        own.with_name(own.name.replace(f'-{start}-', '-0-')),  # of a system that does not say when processes start
        own.with_name(own.name.replace('box_', 'ship_').replace(f'-{pid}-', dead)),
        own.with_name(own.name.replace(f'-{pid}-', f'-{10**12}-')),
        tmp_path / '.notes.tmp',
        tmp_path / '.epoch_1.pth.tmp',
        tmp_path / left[0].name[1:],
    ]
    for path in left + kept:
        path.touch()
    assert remove_stale_temporaries(tmp_path) == sorted(left)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert remove_stale_temporaries(tmp_path) == remove_stale_temporaries(tmp_path / 'nowhere') == []
    files.host_name.cache_clear()


def test_a_killed_process_that_nobody_waited_for_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, '-S', '-c', 'input()'], stdin=subprocess.PIPE)
    name = temporary_path(tmp_path / 'a').name.split('-')
    name[-3:-1] = str(process.pid), str(files.start_of(process.pid))
    leftover = tmp_path / '-'.join(name)
    leftover.touch()
    assert remove_stale_temporaries(tmp_path) == []
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert remove_stale_temporaries(tmp_path) == [leftover]
    process.stdin.close()
    process.wait()


def test_the_first_file_in_a_folder_removes_leftovers(tmp_path):
    own = temporary_path(tmp_path / 'a.json')
    leftovers = [own.with_name(own.name.replace(f'-{os.getpid()}-', f'-{ended_process()}-{i}')) for i in (1, 2)]
    leftovers[0].touch()
    write_bytes(tmp_path / 'b', b'')
    assert os.listdir(tmp_path) == ['b']
    leftovers[1].touch()
    write_bytes(tmp_path / 'b', b'')  # only the first time: a folder may hold many files
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize('name', ['', '/', 'a\0b', '\ud800'])
def test_names_that_no_file_can_have(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for write in (lambda: files.write_text(name, 'x'), lambda: files.LineFile(name)):
        with pytest.raises(DataError, match='cannot be the name of a file'):
            write()
    assert not list(tmp_path.iterdir())


def test_text_that_utf8_has_not(tmp_path):
    with pytest.raises(DataError, match=r'a\.txt: cannot be written as text'):
        files.write_text(tmp_path / 'a.txt', '\ud800')
    assert not list(tmp_path.iterdir())
