from math import inf, nan

import numpy as np
import pytest

from mmdet.datasets.transforms import arguments
from mmdet.errors import ConfigError

SIZE, LIMITS = 'two positive whole numbers', r'two positive whole numbers \(one may be inf\)'


@pytest.mark.parametrize(
    ('value', 'number', 'sequence'),
    [
        (1, True, False), (0.5, True, False), (np.float32(2), True, False), (np.int64(3), True, False),
        (True, False, False), (np.bool_(True), False, False), ('1', False, False), (None, False, False),
        ([1], False, True), ((), False, True), (np.zeros(2), False, True), ({}, False, False),
    ],
)  # fmt: skip
def test_numbers_and_sequences(value, number, sequence):
    assert arguments.is_number(value) is number
    assert arguments.is_sequence(value) is sequence


@pytest.mark.parametrize(
    ('value', 'count', 'expected'),
    [((), 0, True), ((1, 2.5), 2, True), (np.ones(3), 3, True), ((1, 2), 3, False), ((1, True), 2, False),
     ((1, '2'), 2, False), ('12', 2, False), (3, 1, False)],
)  # fmt: skip
def test_is_numbers(value, count, expected):
    assert arguments.is_numbers(value, count) is expected


@pytest.mark.parametrize(
    ('check', 'value', 'expected'),
    [
        ('probability', 0, 0), ('probability', 1.0, 1.0), ('probability', 0.25, 0.25),
        ('size', 5, (5, 5)), ('size', (7.0, 3), (7, 3)), ('size', [1, 1], (1, 1)), ('size', np.array([4, 2]), (4, 2)),
        ('limits', (7, 3), (7, 3)), ('limits', (inf, 3.0), (inf, 3)), ('limits', (3, inf), (3, inf)), ('limits', 6, (6, 6)),
        ('range', (0, 0), (0, 0)), ('range', [0.5, 1.5], (0.5, 1.5)),
        ('pad_value', 114, 114), ('pad_value', [1, 2, 3], (1, 2, 3)), ('pad_value', dict(img=7), 7),
        ('pad_value', dict(seg=255), 0), ('pad_value', dict(img=(1, 2, 3), seg=255), (1, 2, 3)),
    ],
)  # fmt: skip
def test_accepted(check, value, expected):
    result = getattr(arguments, f'check_{check}')('field', value)
    assert result == expected and type(result) is type(expected)
    if check in ('size', 'limits'):
        assert [type(edge) for edge in result] == [float if edge == inf else int for edge in result]


@pytest.mark.parametrize(
    ('check', 'values', 'words'),
    [
        ('probability', [-1e-9, 1 + 1e-9, nan, True, '0.5', None, [0.5]], r'a number in \[0, 1\]'),
        ('size', [0, -1, 1.5, inf, nan, True, 'ab', None, (1,), (1, 2, 3), (0, 5), (5, -1), (5, inf), (5, nan)], SIZE),
        ('limits', [0, (inf, inf), inf, (-inf, 5), (inf, 0), (inf, 1.5), (nan, 5), None], LIMITS),
        ('range', [1, (1,), (2, 1), (-0.1, 1), (0, inf), (nan, 1), (0, nan), '01', None], r'\(low, high\) with 0 <= low'),
        ('pad_value', ['black', None, [], ['a'], True, dict(img='black'), dict(img=None)], 'one number a channel'),
    ],
)  # fmt: skip
def test_refused(check, values, words):
    for value in values:
        with pytest.raises(ConfigError, match=f'^field: must be {words}' if check != 'pad_value' else words) as raised:
            getattr(arguments, f'check_{check}')('field', value)
        if not isinstance(value, dict):
            assert str(raised.value).endswith(f'Received: {value!r}')


def test_choice_and_minimum():
    assert arguments.check_choice('mode', 'b', ('c', 'b')) == 'b'
    with pytest.raises(ConfigError, match=r"mode: must be one of \['b', 'c'\]\. Received: 'a'"):
        arguments.check_choice('mode', 'a', ('c', 'b'))
    with pytest.raises(ConfigError, match='Received: 3'):
        arguments.check_choice('mode', 3, {3: 'three'})
    assert arguments.check_range('field', (1, 2), minimum=1) == (1, 2)
    with pytest.raises(ConfigError, match='with 1 <= low <= high'):
        arguments.check_range('field', (0.99, 2), minimum=1)


@pytest.mark.parametrize(('value', 'expected'), [(0.5, (0.5, 0.5)), ([0.25, 1], (0.25, 1)), ((1, 2), None), (0, None)])
def test_pair(value, expected):
    def check():
        return arguments.check_pair('field', value, lambda share: 0 < share <= 1, 'a share')

    if expected is not None:
        assert check() == expected
        return
    with pytest.raises(ConfigError, match='^field: must be a share'):
        check()


def test_select_objects():
    sample = dict(
        gt_bboxes=np.arange(12.0).reshape(3, 4), gt_bboxes_labels=np.array([5, 6, 7]), gt_ignore_flags=None, img=3
    )
    arguments.select_objects(sample, np.array([2, 0]))
    assert sample['gt_bboxes'].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]] and sample['gt_bboxes_labels'].tolist() == [
        7,
        5,
    ]
    assert sample['gt_ignore_flags'] is None and sample['img'] == 3
    sample['gt_ignore_flags'] = np.array([True, False])
    arguments.select_objects(sample, np.array([False, True]))
    assert sample['gt_bboxes_labels'].tolist() == [5] and sample['gt_ignore_flags'].tolist() == [False]
    empty = {}
    arguments.select_objects(empty, np.zeros(0, bool))
    assert empty == {}


def test_clip_boxes_works_in_place_and_by_axis():
    boxes = np.array([[-1.0, -2, 30, 40], [3, 4, 20, 10], [25, 15, 26, 16]])
    assert arguments.clip_boxes(boxes, (10, 20)) is boxes
    assert boxes.tolist() == [[0, 0, 20, 10], [3, 4, 20, 10], [20, 10, 20, 10]]
    assert arguments.clip_boxes(np.zeros((0, 4)), (10, 20)).shape == (0, 4)


def test_has_area_is_strict_on_both_sides():
    boxes = np.array([[0, 0, 1e-6, 1e-6], [0, 0, 0, 5], [0, 0, 5, 0], [3, 0, 2, 5], [0, 3, 5, 2], [1, 2, 3, 4]])
    assert arguments.has_area(boxes).tolist() == [True, False, False, False, False, True]
    assert arguments.has_area(boxes[:0]).shape == (0,)
    assert arguments.has_area(np.array([[1, 1, 4, 3], [1, 1, 4, 4], [1, 1, 3, 5]]), (2, 2)).tolist() == [
        False,
        True,
        False,
    ]
