"""Which names are read as files, and what is said about the others."""

import os
import socket

import pytest

from mmdet.errors import CheckpointError, ConfigError, DataError
from mmdet.utils.reading import check_file, is_inner_path, read_file


def test_content_and_backend(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'abc')
    (tmp_path / 'link').symlink_to(path)
    assert read_file(path) == read_file(str(tmp_path / 'link')) == read_file(path, dict(backend='local')) == b'abc'


@pytest.mark.parametrize(
    'name, message',
    [
        ('none', 'none: no such file'),
        ('folder', 'folder: must be a file; it is a folder'),
        ('a.txt/b', 'Not a directory'),
        ('x' * 300, 'name too long'),
        ('a\0b', 'cannot be a path'),
        ('\ud800', 'cannot be a path'),
        ('pipe', 'it is a pipe, socket or device'),
        ('socket', 'it is a pipe, socket or device'),
        ('/dev/zero', 'it is a pipe, socket or device'),
        ('/dev/null', 'it is a pipe, socket or device'),
    ],
)
@pytest.mark.parametrize('error', [DataError, CheckpointError])
def test_what_is_no_file(tmp_path, monkeypatch, name, message, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'a.txt').touch()
    os.mkfifo('pipe')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind('socket')
        for read in (read_file, check_file):
            with pytest.raises(error) as caught:
                read(name, error=error)
            assert message in str(caught.value)


@pytest.mark.parametrize(
    'name', ['s3://bucket/a.json', 'http://127.0.0.1:9/a.json', 'images/x://a.jpg', 'file:///etc/passwd']
)
def test_addresses_need_backend_args(name):
    with pytest.raises(ConfigError, match='backend_args: an address is read only where backend_args names its backend'):
        read_file(name)


@pytest.mark.parametrize(
    'name, backend_args',
    [
        ('http://127.0.0.1:9/a.json', dict(backend='http')),
        ('s3://bucket/a.json', dict(backend='petrel')),
        ('x://a.json', dict(backend='unknown')),
        ('a.json', dict(wrong=1)),
    ],
)
def test_failures_of_a_backend(name, backend_args):
    with pytest.raises(DataError, match='cannot be read|no such file'):
        read_file(name, backend_args)


@pytest.mark.parametrize(
    'name, inner',
    [
        ('a.jpg', True), ('a/b..c.jpg', True), ('./a', True), ('', False), ('..', False), ('a/../b', False), ('/a', False),
        ('a\0', False), ('http://a', False),
    ],
)  # fmt: skip
def test_inner_paths(name, inner):
    assert is_inner_path(name) is inner
