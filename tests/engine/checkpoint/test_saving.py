import errno
import io
import os
import shutil
from collections import Counter, OrderedDict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmdet.engine.checkpoint.saving import (  # fmt: skip
    find_newest,
    is_intact,
    restore_history,
    save_atomically,
    to_plain,
    write_link,
    write_pointer,
)
from mmdet.errors import CheckpointError
from tests.devices import on


def save(folder, name, value=1.0):
    path = folder / name
    save_atomically(dict(state_dict=dict(w=torch.full((1000,), value))), path)
    return path


def tear(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ({}, {}),
        (None, None),
        (np.float64(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_('a'), 'a'),
        (Path('a/b'), 'a/b'),
        ((1, [np.int64(2)]), (1, [2])),
        (deque([1, 2]), [1, 2]),
        (Counter({3: 1}), Counter({3: 1})),
        (OrderedDict(a=np.float32(0.5)), OrderedDict(a=0.5)),
        (torch.float16, 'torch.float16'),
        (np.array(['a', 'b']), ['a', 'b']),
    ],
)
def test_to_plain(value, expected):
    plain = to_plain(value)
    assert plain == expected and type(plain) is type(expected)


def test_to_plain_arrays_and_parameters():
    assert torch.equal(to_plain(np.array([1, 2])), torch.tensor([1, 2]))
    assert type(to_plain(torch.nn.Parameter(torch.ones(2)))) is torch.Tensor


def test_to_plain_refuses_objects_by_place():
    with pytest.raises(CheckpointError, match=r'optimizer\.state\.0.*Received: .object'):
        to_plain(dict(state=[object()]), where='optimizer')
    assert to_plain(dict(a=object()), unknown=lambda where, value: where) == dict(a='a')


def test_history_round_trip(device):
    buffer = HistoryBuffer([1.0, 2.0, 4.0], [1, 1, 2], max_length=10)
    restored = restore_history(on(device, to_plain(buffer)))
    assert (
        restored.data[0].tolist() == [1, 2, 4] and restored.data[1].tolist() == [1, 1, 2] and restored.max_length == 10
    )
    restored.update(5.0)
    assert restored.current() == 5 and restore_history(3) is None


@pytest.mark.parametrize('broken', ['replace', 'fsync', 'write'])
def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch, broken):
    path = save(tmp_path, 'epoch_1.pth', 1.0)
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    if broken == 'write':
        monkeypatch.setattr(torch, 'save', full)
    else:
        monkeypatch.setattr(os, broken, full)
    with pytest.raises(
        CheckpointError, match=r'epoch_1\.pth: .*No space left.*an older file is left as it was; \d+ MiB free in '
    ):
        save_atomically(dict(state_dict=dict(w=torch.zeros(5))), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ['epoch_1.pth']


class FullDisk(io.RawIOBase):
    """A file on a full disk."""

    def writable(self):
        return True

    def write(self, _content):
        raise OSError(errno.ENOSPC, 'No space left on device')


def test_stream_error_inside_torch_save_is_reported(tmp_path, monkeypatch):
    """torch's zip writer turns it into a RuntimeError."""
    open_path = Path.open
    monkeypatch.setattr(Path, 'open', lambda path, *mode, **options: FullDisk() if path.parent == tmp_path else open_path(path, *mode, **options))  # fmt: skip
    with pytest.raises(CheckpointError, match=r'a\.pth: could not be written \('):
        save_atomically(dict(w=torch.zeros(1_000_000)), tmp_path / 'a.pth')
    assert os.listdir(tmp_path) == []


def test_interrupt_removes_the_temporary_file(tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_atomically({}, tmp_path / 'a.pth')
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(CheckpointError, match=r'could not be written \(File exists\)'):
        save_atomically({}, tmp_path / 'file' / 'a.pth')


def test_find_newest_in_an_empty_folder(tmp_path):
    assert find_newest(tmp_path, warn=pytest.fail) is None
    assert find_newest(tmp_path / 'absent', warn=pytest.fail) is None


def test_find_newest_takes_the_pointer_first(tmp_path):
    first = save(tmp_path, 'epoch_1.pth')
    save(tmp_path, 'epoch_2.pth')
    write_pointer(tmp_path, first)
    assert find_newest(tmp_path, warn=pytest.fail) == first


@pytest.mark.parametrize('pointer', [None, b'', b'/nowhere/epoch_77.pth', b'\xff\xfe\x00'])
def test_find_newest_without_a_usable_pointer(tmp_path, pointer):
    for number in (9, 10, 2):
        save(tmp_path, f'epoch_{number}.pth')
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_bytes(pointer)
    warnings = []
    assert find_newest(tmp_path, warn=warnings.append).name == 'epoch_10.pth'
    assert len(warnings) == (0 if pointer is None else 1)


def test_epochs_and_iterations_in_one_folder_go_by_time(tmp_path):
    """Their numbers cannot be compared; among epochs alone the number counts, since copying a folder scrambles times."""
    for name, time in (('epoch_10.pth', 1), ('epoch_9.pth', 3), ('epoch_notes.pth', 9)):
        os.utime(save(tmp_path, name), (time, time))
    assert find_newest(tmp_path, warn=pytest.fail).name == 'epoch_10.pth'
    os.utime(save(tmp_path, 'iter_500.pth'), (2, 2))
    assert find_newest(tmp_path, warn=pytest.fail).name == 'epoch_9.pth'


def test_find_newest_passes_over_torn_files(tmp_path):
    for number in (1, 2, 3):
        save(tmp_path, f'epoch_{number}.pth')
    write_pointer(tmp_path, tmp_path / 'epoch_3.pth')
    tear(tmp_path / 'epoch_3.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    warnings = []
    assert find_newest(tmp_path, warn=warnings.append).name == 'epoch_1.pth'
    assert 'epoch_3.pth, which is torn' in warnings[0] and 'epoch_2.pth is torn' in warnings[1]


def test_find_newest_in_a_moved_folder(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.mkdir()
    write_pointer(old, save(old, 'epoch_1.pth'))
    old.rename(new)
    assert find_newest(new, warn=pytest.fail) == new / 'epoch_1.pth'


def test_a_copied_folder_is_continued_from_its_own_files(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.mkdir()
    write_pointer(old, save(old, 'epoch_1.pth'))
    shutil.copytree(old, new)
    assert find_newest(new, warn=pytest.fail) == new / 'epoch_1.pth'


def test_a_flipped_byte_is_seen(tmp_path):
    path = save(tmp_path, 'epoch_1.pth')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert not is_intact(path)


def test_link(tmp_path):
    path = save(tmp_path, 'epoch_1.pth')
    for _ in range(2):
        write_link(tmp_path, path)
    assert (tmp_path / 'latest.pth').resolve() == path.resolve()
    assert sorted(os.listdir(tmp_path)) == ['epoch_1.pth', 'latest.pth']
    assert os.readlink(tmp_path / 'latest.pth') == 'epoch_1.pth'  # a folder that is moved keeps its link


def test_a_file_system_without_links_gets_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, 'symlink_to', lambda *_: (_ for _ in ()).throw(PermissionError(1, 'not permitted')))
    write_link(tmp_path, save(tmp_path, 'epoch_1.pth'))
    assert os.listdir(tmp_path) == ['epoch_1.pth']
