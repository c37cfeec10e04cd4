"""Rows of numbers, UAVDT's rows and VOC's XML: values, lines, and what is refused."""

from collections import Counter

import pytest

from mmdet.formats import Detections, GroundTruth, read_uavdt_rows, read_voc_split, read_voc_xml
from mmdet.formats.images import images_by_stem
from mmdet.formats.text_file import finite_number, read_lines, read_number_rows, whole_number
from mmdet.utils import DataError


def write(tmp_path, text, name='a.txt', **options):
    (tmp_path / name).write_text(text, newline='', **options)
    return tmp_path / name


def test_empty_files(tmp_path):
    rows = read_number_rows(write(tmp_path, ''), 2, 3, 'a,b')
    assert rows.values.shape == (0, 3) and rows.lines == []
    assert read_uavdt_rows(write(tmp_path, '\n'), labelled=True).bbox.shape == (0, 4)
    assert read_lines(write(tmp_path, '\ufeffa\r\nb\rc\u2028d', encoding='utf-8')) == ['a', 'b', 'c\u2028d']


def test_number_rows(tmp_path):
    rows = read_number_rows(write(tmp_path, '1,2\n\n 3 4 5 \r\n,\n-1.5e1\t0\n'), 2, 3, 'a,b')
    assert rows.values.tolist() == [[1, 2, -1], [3, 4, 5], [-15, 0, -1]] and rows.lines == [1, 3, 5]
    rows.refuse(rows.values[:, 0] > 3, 'a', 0, 'small')
    with pytest.raises(DataError, match=r'a\.txt: line 3: b: must be below 3. Received: 4\.0'):
        rows.refuse(rows.values[:, 1] >= 3, 'b', 1, 'below 3')
    for text in ('1', '1,2,3,4', '1,2\n1,two', '1,inf'):
        with pytest.raises(DataError, match='must be 2 to 3 finite numbers, a,b, separated by'):
            read_number_rows(write(tmp_path, text), 2, 3, 'a,b')
    with pytest.raises(DataError, match='must be 2 finite numbers, a,b'):
        read_number_rows(write(tmp_path, '1'), 2, 2, 'a,b')


@pytest.mark.parametrize('text', ['', 'x', '1_0', '٣', '-', '1e', '0x1', '--1', 'nan', 'inf', '1e999', '1' * 5000])
def test_texts_that_are_no_numbers(text):
    assert whole_number(text, 0, 99) is finite_number(text) is None


def test_uavdt_rows(tmp_path):
    path = write(tmp_path, '\ufeff1,5,592,327,47,22,1,1,3\n\n2 6 0.5 1 2 3 1 1 1\n', encoding='utf-8')
    rows = read_uavdt_rows(path, labelled=True)
    assert rows.frame.tolist() == [1, 2] and rows.category.tolist() == [3, 1]
    assert rows.bbox.tolist() == [[592, 327, 47, 22], [0.5, 1, 2, 3]]
    write(tmp_path, '4,9,914,189,105,54,1,-1,-1')
    rows = read_uavdt_rows(path, labelled=False)
    assert (rows.frame.tolist(), rows.category.tolist()) == ([4], [-1])
    with pytest.raises(DataError, match='line 1: category: must be 1 car, 2 truck or 3 bus'):
        read_uavdt_rows(path, labelled=True)
    for text, message in (
        ('1,5,592,327,47,22,1,1', 'line 1: must be 9 finite numbers'),
        (
            '1,5,592,327,47,22,1,1,1\n0,5,592,327,47,22,1,1,1',
            'line 2: frame: must be a whole number from 1. Received: 0.0',
        ),
        ('1.5,5,592,327,47,22,1,1,1', 'line 1: frame'),
        ('1e300,5,592,327,47,22,1,1,1', 'line 1: frame'),
        ('1,5,592,327,47,22,1,1,2.5', 'line 1: category'),
        ('1,5,592,327,47,22,1,1,4', 'line 1: category'),
        ('1,5,592,327,47,22,1,1,0', 'line 1: category'),
    ):
        with pytest.raises(DataError, match=message):
            read_uavdt_rows(write(tmp_path, text), labelled=True)


def test_voc(tmp_path):
    box = '<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax> 3</xmax><ymax>4</ymax></bndbox>'
    content = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><annotation><filename> b.jpg </filename><size><width>6</width></size>'
        f'<object><name>dog</name>{box}</object><object><difficult>1</difficult><name> cat </name>{box}</object></annotation>'
    )
    found = read_voc_xml(write(tmp_path, content, 'a.xml', encoding='utf-8'))
    assert found.file_name == 'b.jpg' and found.size_wh == ('6', '')
    assert found.objects == [('dog', (1, 2.5, 3, 4), False), ('cat', (1, 2.5, 3, 4), True)]
    assert read_voc_xml(write(tmp_path, '<annotation/>', 'a.xml')).objects == []
    for bad, message in (
        (content.replace('2.5', '9' * 400), 'object 1: bndbox: must hold the finite numbers'),
        (content.replace('<ymin>2.5</ymin>', '', 1), "object 1: bndbox.*''"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', 'broken XML'),
        ('<a>' * 10, 'broken XML'),
        (content.replace('b.jpg', '../b.jpg'), 'filename: must lead into JPEGImages. Received: .../b.jpg'),
        (content.replace('b.jpg', '/etc/b.jpg'), 'filename: must lead into JPEGImages'),
    ):
        with pytest.raises(DataError, match=rf'a\.xml: {message}'):
            read_voc_xml(write(tmp_path, bad, 'a.xml', encoding='utf-8'))
    assert read_voc_split(write(tmp_path, '\ufeffb 1\n\na -1\nb 1\n', encoding='utf-8')) == ['b', 'a']
    notes = Counter()
    assert read_voc_split(write(tmp_path, 'b\na\nb\nb\n'), notes) == ['b', 'a']
    assert notes == {'images that the list names again (read once)': 2}
    for name in ('../a', '/etc/a', 'a/../../b', 'a\0'):
        with pytest.raises(DataError, match='must be names of files in Annotations and JPEGImages'):
            read_voc_split(write(tmp_path, f'b\n{name} 1\n'))


def test_images_by_stem(tmp_path):
    for name in ('b.PNG', 'a.x.jpg', 'b.jpeg', 'c.webp', 'd.txt', 'c.tif'):
        (tmp_path / name).write_bytes(b'')
    found = images_by_stem(tmp_path)
    assert {stem: path.name for stem, path in found.items()} == {'a.x': 'a.x.jpg', 'b': 'b.jpeg', 'c': 'c.tif'}
    assert list(found) == ['a.x', 'b', 'c']
    with pytest.raises(DataError, match='no such image folder'):
        images_by_stem(tmp_path / 'nowhere')


def test_tables_are_checked_column_by_column():
    empty = GroundTruth([], [], [])
    empty.check('ground truth', 0, 1)
    assert empty.bbox.shape == (0, 4) and empty.crowd.dtype == bool
    table = GroundTruth([0, 1], [0, 2], [[0, 0, 2, 3], [1, 1, 4, 5]])
    assert table.area.tolist() == [6, 20] and table.crowd.tolist() == [False, False]
    table.check('ground truth', 2, 3)
    for sizes, message in (
        ((1, 3), r'ground truth: row 1: image: must be in 0\.\.0. Received: 1'),
        ((2, 2), 'row 1: label'),
    ):
        with pytest.raises(DataError, match=message):
            table.check('ground truth', *sizes)
    table.check('ground truth', 2)  # labels of any kind
    for column in ('bbox', 'area'):
        broken = GroundTruth([0, 1], [0, 2], [[0, 0, 2, 3], [1, 1, 4, 5]])
        getattr(broken, column)[1] = float('nan')
        with pytest.raises(DataError, match=f'row 1: {column}: must be finite'):
            broken.check('ground truth', 2, 3)
    with pytest.raises(DataError, match=r'row 0: score: must be finite. Received: inf'):
        Detections([0], [0], [[0, 0, 1, 1]], score=[float('inf')]).check('detections', 1, 1)
    with pytest.raises(DataError, match='score: must have 1 rows, like image. Received: 0'):
        Detections([0], [0], [[0, 0, 1, 1]])
