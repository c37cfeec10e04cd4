"""A bar on a terminal, nothing elsewhere."""

import sys

import pytest

from mmdet.utils.progress import progress
from mmdet_runtime import progress as module


def draw(monkeypatch, capsys, items, seconds, terminal=True, **options):
    """Items that pass, and what is drawn while a clock shows ``seconds``."""
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal, raising=False)
    clock = iter(seconds)
    monkeypatch.setattr(module.time, 'monotonic', lambda: next(clock))
    passed = list(progress(items, 'scenes', **options))
    return passed, capsys.readouterr().err


@pytest.mark.parametrize('items', [[], [1, 2]])
def test_nothing_in_a_log_file(monkeypatch, capsys, items):
    assert draw(monkeypatch, capsys, iter(items), [], terminal=False) == (items, '')


def test_nothing_to_do(monkeypatch, capsys):
    assert draw(monkeypatch, capsys, [], [0]) == ([], '\n')


def test_bar_rate_and_remaining_time(monkeypatch, capsys):
    """Drawn at 2 s (1 of 4 items: 0.5 a second, 6 s left), not 0.05 s later, and at the end."""
    passed, text = draw(monkeypatch, capsys, [1, 2, 3, 4], [0, 2, 2.05, 4, 8])
    assert passed == [1, 2, 3, 4]
    lines = text.split('\r')[1:]
    assert lines == [
        f'scenes [{"#" * 7:<30}] 1/4  0.5/s  6 s left ',
        f'scenes [{"#" * 22:<30}] 3/4  0.8/s  1 s left ',
        f'scenes [{"#" * 30}] 4/4  0.5/s  0 s left \n',
    ]


def test_total_of_a_stream(monkeypatch, capsys):
    _, text = draw(monkeypatch, capsys, iter([1, 2]), [0, 1, 1.01], total=2)
    assert text.split('\r')[1:] == [
        f'scenes [{"#" * 15:<30}] 1/2  1.0/s  1 s left ',
        f'scenes [{"#" * 30}] 2/2  2.0/s  0 s left \n',
    ]
