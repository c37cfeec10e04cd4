import hashlib
import os
import pickle
import urllib.error
from argparse import Namespace
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from torch import nn

from mmdet.engine import load_checkpoint_file, resolve_checkpoint
from mmdet.engine.checkpoint import write_checkpoint
from mmdet.engine.checkpoint.saving import restore_history
from mmdet.engine.checkpoint.sources import KNOWN_NAMES
from mmdet.errors import CheckpointError

WEIGHTS = OrderedDict(w=torch.arange(4.0))


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, 'w')


@pytest.mark.parametrize(
    'content',
    [
        WEIGHTS,
        dict(state_dict=WEIGHTS, meta=dict(epoch=3)),
        dict(model=WEIGHTS, args=Namespace(lr=0.1)),
        dict(state_dict=WEIGHTS, meta=dict(time=np.float64(0.5), array=np.arange(3), flag=np.bool_(True))),
        dict(state_dict=WEIGHTS, meta=dict(time=np.array(0.5), array=np.arange(3, dtype='>i2'))),
        dict(state_dict=WEIGHTS, meta=dict(empty=np.empty((0, 3)), nothing=b'', history=HistoryBuffer())),
    ],
    ids=['bare', 'state_dict', 'model and Namespace', 'numpy', 'other byte order', 'empty'],
)
@pytest.mark.parametrize('old_format', [False, True])
def test_reads_what_others_write(tmp_path, content, old_format):
    torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=not old_format)
    checkpoint = load_checkpoint_file(tmp_path / 'a.pth')
    assert torch.equal(checkpoint['state_dict']['w'], WEIGHTS['w']) and isinstance(checkpoint['meta'], dict)
    if 'time' in checkpoint['meta']:
        assert checkpoint['meta']['time'] == 0.5 and checkpoint['meta']['array'].tolist() == [0, 1, 2]


def test_numbers_of_numpy_in_meta_become_plain_ones(tmp_path):
    torch.save(dict(state_dict=WEIGHTS, meta=dict(epoch=np.int64(3))), tmp_path / 'a.pth')
    assert type(load_checkpoint_file(tmp_path / 'a.pth')['meta']['epoch']) is int


def test_reads_mmengine_history_buffers(tmp_path):
    scalars = {'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])}
    torch.save(dict(state_dict=WEIGHTS, message_hub=dict(log_scalars=scalars)), tmp_path / 'a.pth')
    plain = load_checkpoint_file(tmp_path / 'a.pth')['message_hub']['log_scalars']['train/loss']
    assert restore_history(plain).data[0].tolist() == [1, 2]


def test_reads_safetensors(tmp_path):
    from safetensors.torch import save_file

    save_file(dict(WEIGHTS), tmp_path / 'a.safetensors', metadata=dict(epoch='3'))
    checkpoint = load_checkpoint_file(tmp_path / 'a.safetensors')
    assert torch.equal(checkpoint['state_dict']['w'], WEIGHTS['w']) and checkpoint['meta'] == dict(epoch='3')
    content = (tmp_path / 'a.safetensors').read_bytes()
    (tmp_path / 'b.safetensors').write_bytes(content[:-3])
    with pytest.raises(CheckpointError, match=r'b\.safetensors.*truncated or damaged'):
        load_checkpoint_file(tmp_path / 'b.safetensors')


class Forged:
    """Is pickled as a call of a function, followed by a state."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def forged_dtype(code, flags=0, fields=(None, None), size=-1):
    return Forged(np.dtype, (code, False, True), (3, '<', None, *fields, size, size, flags))


def forged_array(dtype, data=bytes(8)):
    return Forged(np.empty(0).__reduce__()[0], (np.ndarray, (0,), b'b'), (1, (1,), dtype, False, data))


FIELDS = ('a',), {'a': (np.dtype('O'), 0)}


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (Forged(np.ndarray, ((4,), 'O', b'x' * 32)), r'numpy\.ndarray'),  # objects at addresses of the file's choice
        (Forged(np.ndarray, ((1 << 45,),)), r'numpy\.ndarray'),
        (forged_array(forged_dtype('O')), r'numpy\.dtype'),
        (forged_array(forged_dtype('f8', flags=1)), r'numpy\.dtype'),  # numpy counts references to such numbers
        (forged_array(forged_dtype('f8', fields=FIELDS, size=8)), r'numpy\.dtype'),
        (forged_array(forged_dtype('V8')), r'numpy\.dtype'),
        (forged_array(forged_dtype('b1'), b'\2'), r'numpy\.ndarray'),
        (forged_array(forged_dtype('f8'), b'short'), 'damaged'),
        (Forged(np.float64(1).__reduce__()[0], (forged_dtype('V8'), bytes(8))), r'numpy\.dtype'),
    ],
)
@pytest.mark.parametrize('old_format', [False, True])
def test_forged_arrays_are_refused(tmp_path, value, message, old_format):
    content = dict(state_dict=WEIGHTS, meta=dict(value=value))
    torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=not old_format)
    with pytest.raises(CheckpointError, match=rf'a\.pth.*{message}'):
        load_checkpoint_file(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('value', 'protocol', 'message'),
    [(frozenset(), 2, 'frozenset'), (np.array(['a']), 2, r'numpy\.dtype'), (1, 4, 'pickle protocol')],
)
def test_what_is_refused_is_named(tmp_path, value, protocol, message):
    torch.save(dict(state_dict=WEIGHTS, meta=dict(value=value)), tmp_path / 'a.pth', pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint_file(tmp_path / 'a.pth')


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    path, target = tmp_path / 'evil.pth', tmp_path / 'created'
    torch.save(dict(state_dict=WEIGHTS, extra=Evil(target)), path)
    with pytest.raises(CheckpointError, match=r'evil\.pth.*open.*nothing of it was executed.*--trust-checkpoint'):
        load_checkpoint_file(path)
    assert not target.exists()
    load_checkpoint_file(path, trust=True)
    assert target.exists()


@pytest.mark.parametrize('function', [os.system, getattr, eval])
def test_reduce_to_functions_is_refused(tmp_path, function):
    class Call:
        def __reduce__(self):
            return function, (('x', 'upper') if function is getattr else ('touch never',))

    torch.save(dict(state_dict=WEIGHTS, extra=Call()), tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match='--trust-checkpoint'):
        load_checkpoint_file(tmp_path / 'evil.pth')


def test_config_text_inside_is_only_text(tmp_path):
    target = tmp_path / 'created'
    torch.save(dict(state_dict=WEIGHTS, meta=dict(config=f'open({str(target)!r}, "w")')), tmp_path / 'a.pth')
    load_checkpoint_file(tmp_path / 'a.pth')
    assert not target.exists()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'the file is empty'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'git-lfs pointer'),
        (b'<!DOCTYPE html><html>404</html>', 'web page'),
        (b'hello\n', 'not a checkpoint'),
        (b'PK\x03\x04', 'truncated or damaged'),
        (pickle.dumps([1, 2], protocol=2), 'truncated or damaged|holds'),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, message):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'a\.pth.*({message})'):
        load_checkpoint_file(tmp_path / 'a.pth')


def test_truncated_missing_folder_and_wrong_content(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'whole.pth')
    (tmp_path / 'torn.pth').write_bytes((tmp_path / 'whole.pth').read_bytes()[:-30])
    with pytest.raises(CheckpointError, match=r'torn\.pth.*truncated or damaged'):
        load_checkpoint_file(tmp_path / 'torn.pth')
    with pytest.raises(CheckpointError, match='no such checkpoint file'):
        load_checkpoint_file(tmp_path / 'absent.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        load_checkpoint_file(tmp_path)
    for content, message in [([1], 'no state dict'), ({}, 'empty dictionary'), (dict(a=1), 'a: int')]:
        torch.save(content, tmp_path / 'odd.pth')
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint_file(tmp_path / 'odd.pth')


def test_names_and_urls(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDET_CACHE', str(tmp_path))

    def offline(url):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr('mmdet.engine.checkpoint.sources._answer', offline)
    with pytest.raises(CheckpointError, match=rf'resnet50-0676ba61\.pth.*no network.*{tmp_path}.*MMDET_CACHE'):
        resolve_checkpoint('torchvision://resnet50')
    with pytest.raises(CheckpointError, match='res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth'):
        resolve_checkpoint('open-mmlab://res2net101_v1d_26w_4s')
    with pytest.raises(CheckpointError, match='near names: resnet50'):
        resolve_checkpoint('torchvision://resnet5')
    with pytest.raises(CheckpointError, match='unknown scheme'):
        resolve_checkpoint('petrel://a')
    (tmp_path / 'resnet50-19c8e357.pth').write_bytes(b'x')
    with pytest.raises(CheckpointError, match='resnet50-19c8e357.pth: is not the published file'):
        resolve_checkpoint('modelzoo://resnet50')
    digits = hashlib.sha256(b'x').hexdigest()[:8]
    (tmp_path / f'other-{digits}.pth').write_bytes(b'x')
    monkeypatch.setitem(
        KNOWN_NAMES, 'torchvision://two', (f'https://example.org/one-{digits}.pth', f'other-{digits}.pth')
    )
    assert resolve_checkpoint('modelzoo://two').name == f'other-{digits}.pth'
    (tmp_path / 'a.pth').write_bytes(b'x')
    assert resolve_checkpoint('https://example.org/x/a.pth?download=1') == tmp_path / 'a.pth'

    monkeypatch.setattr('mmdet.engine.checkpoint.sources._download', lambda url, target: torch.save(WEIGHTS, target))
    assert resolve_checkpoint('open-mmlab://resnext101_32x4d') == tmp_path / 'resnext101_32x4d-a5af3160.pth'


def test_pretrained_init_uses_the_reader(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDET_CACHE', str(tmp_path))
    monkeypatch.setitem(KNOWN_NAMES, 'torchvision://resnet50', ('https://example.org/resnet50.pth',))
    torch.save(dict(conv=torch.full((2, 3), 7.0), fc=torch.zeros(1)), tmp_path / 'resnet50.pth')

    class Backbone(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
            self.conv = nn.Parameter(torch.zeros(2, 3))

    backbone = Backbone()
    backbone.init_weights()
    assert (backbone.conv == 7).all()


class _Harmless:
    """An object that only a trusted file may bring along."""


def test_trust_reaches_pretrained_weights(tmp_path):
    from mmengine.runner.checkpoint import CheckpointLoader

    from mmdet.engine.checkpoint.reading import trusting

    path = tmp_path / 'pretrained.pth'
    torch.save(dict(state_dict={'weight': torch.ones(1)}, extra=_Harmless()), path)
    with pytest.raises(CheckpointError, match='trust'):
        CheckpointLoader.load_checkpoint(str(path))
    with trusting(True):
        assert CheckpointLoader.load_checkpoint(str(path))['state_dict']['weight'] == 1
    with pytest.raises(CheckpointError, match='trust'):
        CheckpointLoader.load_checkpoint(str(path))


def test_map_location_reaches_both_formats(tmp_path):
    torch.save(dict(state_dict=WEIGHTS), tmp_path / 'a.pth')
    write_checkpoint(dict(state_dict=WEIGHTS, meta=dict(classes=['car'])), tmp_path / 'a.safetensors')
    for name in ('a.pth', 'a.safetensors'):
        assert load_checkpoint_file(tmp_path / name)['state_dict']['w'].device.type == 'cpu'
    assert load_checkpoint_file(tmp_path / 'a.pth', map_location='meta')['state_dict']['w'].device.type == 'meta'
    assert load_checkpoint_file(tmp_path / 'a.safetensors')['meta'] == dict(classes=['car'])


def test_the_first_known_key_holds_the_weights(tmp_path):
    """``state_dict`` before ``model``: files of mmdetection 2.x with both exist."""
    torch.save(dict(model=OrderedDict(old=torch.zeros(1)), state_dict=WEIGHTS, meta='text'), tmp_path / 'a.pth')
    checkpoint = load_checkpoint_file(tmp_path / 'a.pth')
    assert list(checkpoint['state_dict']) == ['w'] and set(checkpoint) == {'model', 'state_dict', 'meta'}
    assert checkpoint['meta'] == {}
    torch.save(dict(model_state_dict=WEIGHTS), tmp_path / 'b.pth')
    assert list(load_checkpoint_file(tmp_path / 'b.pth')['state_dict']) == ['w']
    torch.save(nn.Linear(1, 1), tmp_path / 'c.pth')
    assert list(load_checkpoint_file(tmp_path / 'c.pth', trust=True)['state_dict']) == ['weight', 'bias']


def test_a_trusted_file_that_cannot_be_unpickled_is_an_error(tmp_path):
    class Gone:
        def __reduce__(self):
            return _fail, ()

    torch.save(dict(state_dict=WEIGHTS, extra=Gone()), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'a\.pth: cannot be unpickled \(ZeroDivisionError: gone\)'):
        load_checkpoint_file(tmp_path / 'a.pth', trust=True)


def _fail():
    raise ZeroDivisionError('gone\nsecond line')


@pytest.mark.parametrize(
    ('main', 'works', 'downloads'),
    [(True, True, ['fetch', 'wait']), (False, True, ['wait', 'fetch']), (True, False, ['fetch', 'wait']), (False, False, ['wait', 'fetch'])],
)  # fmt: skip
def test_the_first_process_downloads_and_the_others_wait(tmp_path, monkeypatch, main, works, downloads):
    """A rank without a shared cache downloads its own file after the barrier; a failure is raised after it, too."""
    calls = []

    def download(url, target):
        calls.append('fetch')
        if not works:
            raise urllib.error.URLError('no network')
        target.touch()

    module = 'mmdet.engine.checkpoint.sources'
    monkeypatch.setenv('MMDET_CACHE', str(tmp_path))
    monkeypatch.setattr(f'{module}._download', download)
    monkeypatch.setattr(f'{module}.is_main_process', lambda: main)
    monkeypatch.setattr(f'{module}.barrier', lambda: calls.append('wait'))
    for again in (False, True):
        if works:
            assert resolve_checkpoint('https://a.b/c.pth?d=1') == tmp_path / 'c.pth'
        else:
            with pytest.raises(CheckpointError, match=r'cannot download .*no network.* put the file c\.pth'):
                resolve_checkpoint('https://a.b/c.pth?d=1')
        assert calls == (['wait'] if again and works else downloads)
        calls.clear()
