import numpy as np
import pytest
import torch

from mmdet.core.boxes import (
    HorizontalBoxes,
    autocast_box_type,
    convert_box_type,
    get_box_type,
    register_box,
    register_box_converter,
)
from mmdet.core.boxes.base_boxes import CONVERTERS
from mmdet.registry import BOX_TYPES

ROW = [1.0, 2, 5, 8]


@pytest.fixture
def centred():
    """A kind of its own, registered for one test: boxes and a converter to them."""
    kept = dict(BOX_TYPES), dict(CONVERTERS)

    @register_box('Centred')
    class Centred(HorizontalBoxes):
        pass

    @register_box_converter('hbox', Centred)
    def converter(boxes):
        return boxes - 1

    yield Centred
    for table, content in zip((BOX_TYPES, CONVERTERS), kept):
        table.clear()
        table.update(content)


def test_kinds_by_name_and_class(centred):
    assert get_box_type('HBox') == get_box_type(HorizontalBoxes) == ('hbox', HorizontalBoxes)
    assert get_box_type('centred') == ('centred', centred)
    with pytest.raises(AssertionError, match='box_type'):
        get_box_type('rbox')
    with pytest.raises(AssertionError, match='Received'):
        get_box_type(type('Unknown', (HorizontalBoxes,), {}))
    for other in (int, 3, torch.Tensor):
        with pytest.raises(KeyError, match='box_type'):
            get_box_type(other)


def test_names_are_taken_once(centred):
    with pytest.raises(KeyError, match='centred'):
        register_box('CENTRED', HorizontalBoxes)
    assert register_box('centred', HorizontalBoxes, force=True) is HorizontalBoxes
    for force in (1, None):
        with pytest.raises(TypeError, match='force'):
            register_box('other', HorizontalBoxes, force=force)
    with pytest.raises(AssertionError, match='BaseBoxes'):
        register_box('other', int)
    assert 'other' not in BOX_TYPES
    with pytest.raises(KeyError):
        register_box_converter('hbox', 'centred', lambda boxes: boxes)


def test_conversion(centred):
    boxes = HorizontalBoxes([ROW])
    assert convert_box_type(boxes, dst_type='hbox') is boxes and boxes.convert_to(HorizontalBoxes) is boxes
    converted = boxes.convert_to('centred')
    assert type(converted) is centred and converted.tensor.tolist() == [[0, 1, 4, 7]]
    array = convert_box_type(np.array([ROW]), src_type='hbox', dst_type=centred)
    assert isinstance(array, np.ndarray) and array.tolist() == [[0, 1, 4, 7]]
    assert convert_box_type(torch.tensor([ROW]), src_type='hbox', dst_type='centred').tolist() == [[0, 1, 4, 7]]
    with pytest.raises(AssertionError, match='converter'):
        converted.convert_to('hbox')
    with pytest.raises(AssertionError, match='src_type'):
        convert_box_type(np.array([ROW]), dst_type='hbox')
    with pytest.raises(AssertionError, match='dst_type'):
        convert_box_type(boxes)
    with pytest.raises(TypeError, match='list'):
        convert_box_type([ROW], src_type='hbox', dst_type='hbox')


class Shift:
    """A transform in mmdetection's style; it remembers the kinds that it saw."""

    @autocast_box_type()
    def transform(self, results, by=1.0, gives=None):
        mixed = results.get('mix_results', ())
        self.seen = [type(sample.get('gt_bboxes')) for sample in (results, *mixed)]
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].translate_((by, by))
        if gives == 'error':
            raise RuntimeError('no')
        if gives == 'first other':
            return mixed[0]
        return None if gives == 'none' else results


def test_without_boxes():
    shift = Shift()
    assert shift.transform({}) == {} and shift.transform(dict(gt_bboxes=None), by=3) == dict(gt_bboxes=None)


def test_arrays_become_boxes_for_the_call():
    shift, array = Shift(), np.array([ROW], np.float32)
    results = shift.transform(dict(gt_bboxes=array), by=2)
    assert shift.seen == [HorizontalBoxes]
    assert results['gt_bboxes'].tolist() == [[3, 4, 7, 10]] and results['gt_bboxes'].dtype == np.float32
    assert array.tolist() == [ROW]
    assert shift.transform(dict(gt_bboxes=array[:0]))['gt_bboxes'].shape == (0, 4)


def test_objects_pass():
    boxes = HorizontalBoxes([ROW])
    assert Shift().transform(dict(gt_bboxes=boxes), 2.0)['gt_bboxes'] is boxes
    assert boxes.tensor.tolist() == [[3, 4, 7, 10]]


@pytest.mark.parametrize('boxes', [[ROW], torch.tensor([ROW])])
def test_others(boxes):
    with pytest.raises(TypeError, match='gt_bboxes'):
        Shift().transform(dict(gt_bboxes=boxes))


def test_mixed_samples():
    shift = Shift()
    other = dict(gt_bboxes=np.array([ROW]))
    results = shift.transform(dict(gt_bboxes=np.array([ROW]), mix_results=[other, {}]))
    assert shift.seen == [HorizontalBoxes, HorizontalBoxes, type(None)]
    assert isinstance(results['gt_bboxes'], np.ndarray) and isinstance(other['gt_bboxes'], np.ndarray)
    returned = shift.transform(dict(gt_bboxes=np.array([ROW]), mix_results=[other]), gives='first other')
    assert returned is other and isinstance(returned['gt_bboxes'], np.ndarray)


@pytest.mark.parametrize('gives', ['none', 'error'])
def test_a_sample_that_is_given_back_holds_its_own_array(gives):
    array = np.array([ROW])
    sample = dict(gt_bboxes=array)
    if gives == 'error':
        with pytest.raises(RuntimeError, match='no'):
            Shift().transform(sample, gives=gives)
    else:
        assert Shift().transform(sample, gives=gives) is None
    assert sample['gt_bboxes'] is array and array.tolist() == [ROW]
