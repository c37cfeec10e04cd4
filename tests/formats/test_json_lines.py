import pytest

from mmdet.errors import DataError
from mmdet.formats.json_lines import read_json_lines


@pytest.mark.parametrize(
    'content, rows',
    [
        (b'', []),
        (b'{"a": 1}', [dict(a=1)]),
        (b'{"a": 1}\n\n  \n{"b": [2]}\n', [dict(a=1), dict(b=[2])]),
        (b'\xef\xbb\xbf{"a": 1}\r\n{"b": 2}\r\n', [dict(a=1), dict(b=2)]),  # byte order mark, Windows line ends
        (b'{"a": 1}\n{"b": ', [dict(a=1)]),  # torn by a kill
        (b'{"loss": -Infinity, "step": 3}', [dict(loss=-float('inf'), step=3)]),
    ],
)
def test_rows(tmp_path, content, rows):
    (tmp_path / 'log.json').write_bytes(content)
    assert read_json_lines(tmp_path / 'log.json') == rows


@pytest.mark.parametrize(
    'content, message',
    [
        (b'{"a": 1}\n{"b": \n{"c": 3}', r'log\.json: line 2: must be a JSON object.*"b"'),
        (b'{"a": 1}\n\n[1]', r'line 3: must be a JSON object'),
        (b'3\n', r'line 1: must be a JSON object'),
        (b'[' * 100_000 + b'\n{}', 'line 1: must be a JSON object'),
        (b'\xff\xfe\x00', r'log\.json: cannot be read as text'),
        (b'{"step": [1]}', r"line 1: step: must be a finite number below 2\*\*53\. Received: '\[1\]'"),
        (b'{"step": 1}\n{"step": "a"}', r"line 2: step: .*Received: 'a'"),
        (b'{"epoch": true}', r"line 1: epoch: .*Received: 'True'"),
        (b'{"iter": NaN}', r"line 1: iter: .*Received: 'nan'"),
        (b'{"step": %s}' % (b'4' * 400), r'line 1: step: '),
        (
            b'{"step": 1}\n\n{"loss": %s}' % (b'4' * 400),
            r"line 3: loss: must be a finite number below 1e300\. Received: '4{80}'",
        ),
        (b'{"loss": -1e301}', r'line 1: loss: '),
    ],
)
def test_broken_files(tmp_path, content, message):
    (tmp_path / 'log.json').write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_json_lines(tmp_path / 'log.json')


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match='none.json: no such file'):
        read_json_lines(tmp_path / 'none.json')
