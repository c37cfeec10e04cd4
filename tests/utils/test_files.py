"""Files appear whole or not at all."""

import json

import numpy as np
import pytest

from mmdet.utils import DataError
from mmdet.utils.files import write_atomically, write_json, write_text


def test_nothing_is_an_empty_file(tmp_path):
    write_text(tmp_path / 'new' / 'empty.txt', '')
    assert (tmp_path / 'new' / 'empty.txt').read_bytes() == b''


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / 'a.txt', 'Größe\n')
    assert (tmp_path / 'a.txt').read_bytes() == b'Gr\xc3\xb6\xc3\x9fe\n'


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


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x.bin'
    write_atomically(path, lambda file: file.write(b'old'))

    def torn(file):
        file.write(b'ne')
        raise OSError(28, 'No space left on device')

    with pytest.raises(DataError, match='No space left on device'):
        write_atomically(path, torn)
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]
