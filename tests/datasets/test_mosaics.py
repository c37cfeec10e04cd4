"""Mosaics of a data set, made with a scripted coarse detector and worked out by hand."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core.ufp import paint_black
from mmdet.datasets.converters import MosaicBuilder, MosaicOptions, mosaics
from mmdet.utils import ConfigError, DataError

# Image id, file name, coarse boxes, ground truth x, y, w, h. The red of the first pixel is the image's number.
SCENES = [
    (
        'north', 'a/one.png', [[100, 100, 140, 130]],
        # The region is (90, 92.5, 150, 137.5), read from (90, 92): inside, three quarters inside, one column outside, much larger.
        [[100, 100, 40, 30], [85, 100, 20, 20], [89, 100, 20, 20], [0, 0, 320, 240]],
    ),
    (7, 'a/two.png', [], [[10, 20, 30, 40]]),
    (-3, 'b/three.png', [[100, 100, 140, 130]], []),
    # Two overlapping regions, (95, 123, 30, 30) and (119, 122, 60, 36), both four times as large in the mosaic.
    (100, 'four.png', [[100, 128, 120, 148], [124, 136, 144, 152], [144, 128, 172, 152]], [[120, 130, 4, 10], [5, 5, 0, 9]]),
]  # fmt: skip
WIDTH, HEIGHT = 320, 240


@pytest.fixture
def dataset(tmp_path):
    images, annotations = [], []
    for number, (image_id, name, _, boxes) in enumerate(SCENES):
        pixels = np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)
        pixels[0, 0, 2] = number
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'images' / name), pixels)
        images.append(dict(id=image_id, file_name=name, width=WIDTH, height=HEIGHT))
        annotations += [
            dict(image_id=image_id, bbox=box, category_id=3, id=len(annotations) + k) for k, box in enumerate(boxes)
        ]
    annotations[0]['iscrowd'] = 0
    annotations.append(dict(image_id='north', bbox=[120, 110, 10, 10], category_id=1, id=90, ignore=1))
    document = dict(images=images, annotations=annotations, categories=[dict(id=1, name='a'), dict(id=3, name='b')])
    document['ignored_regions'] = [dict(image_id='north', bbox=[140, 100, 300, 20])]
    (tmp_path / 'source.json').write_text(json.dumps(document))
    return tmp_path


class Coarse:
    """Knows an image by its first pixel; remembers what it was shown, and may fail at an image."""

    def __init__(self, fail_at=None):
        self.seen, self.fail_at = [], fail_at

    def __call__(self, images):
        results = []
        for image in images:
            number = int(image[2, 0, 0])
            if number == self.fail_at:
                raise RuntimeError('power cut')
            self.seen.append(number)
            boxes = torch.tensor(SCENES[number][2], dtype=torch.float32).reshape(-1, 4)
            results.append(
                InstanceData(bboxes=boxes, scores=torch.ones(len(boxes)), labels=torch.zeros(len(boxes)).long())
            )
        return results


def builder(folder, out='out', options=None, **kwargs):
    return MosaicBuilder(
        folder / 'source.json', folder / 'images', folder / out, folder / f'{out}.json', batch_size=1,
        options=options or MosaicOptions(), **kwargs,
    )  # fmt: skip


def build(folder, out='out', coarse=None, shares=1, **kwargs):
    made = builder(folder, out, **kwargs)
    made.start()
    for rank in range(shares):
        made.run(coarse or Coarse(), rank, shares, num_workers=1)
    report = made.join()
    return json.loads((folder / f'{out}.json').read_text()), report


def test_16_bit_images(dataset):
    expected, _ = build(dataset)
    for path in (dataset / 'images').rglob('*.png'):
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)
    with pytest.raises(DataError, match='value_range'):
        build(dataset, 'no_rule')
    assert build(dataset, 'scaled', options=MosaicOptions(value_range=(0, 4080)))[0] == expected
    for path in (dataset / 'out').rglob('*.png'):
        assert np.array_equal(
            cv2.imread(str(path)), cv2.imread(str(dataset / 'scaled' / path.relative_to(dataset / 'out')), -1)
        )
    with pytest.raises(ConfigError, match='value_range'):
        MosaicOptions(value_range='auto')


def boxes_of(document, image_id):
    return [row['bbox'] for row in document['annotations'] if row['image_id'] == image_id]


def test_by_hand(dataset):
    document, report = build(dataset)
    assert [(i['id'], i['file_name'], i['width'], i['height']) for i in document['images']] == [
        ('north', 'a/one.png', 120, 90), (7, 'a/two.png', 320, 240), (-3, 'b/three.png', 120, 90), (100, 'four.png', 240, 264),
    ]  # fmt: skip
    for image in document['images']:
        assert cv2.imread(str(dataset / 'out' / image['file_name'])).shape == (image['height'], image['width'], 3)
    assert boxes_of(document, 'north') == [[20, 16, 80, 60], [0, 16, 38, 40], [0, 0, 120, 90], [60, 36, 20, 20]]
    assert boxes_of(document, 7) == [[10, 20, 30, 40]]
    assert boxes_of(document, -3) == []
    assert boxes_of(document, 100) == [[100, 172, 16, 40], [4, 32, 16, 40]]
    assert [row['id'] for row in document['annotations']] == list(range(1, 8))
    first, ignored = document['annotations'][0], document['annotations'][3]
    assert first['segmentation'] == [[20, 16, 20, 76, 100, 76, 100, 16]]
    assert (first['area'], first['category_id'], first['iscrowd'], first['ignore']) == (4800, 3, 0, 0)
    assert (ignored['category_id'], ignored['iscrowd'], ignored['ignore']) == (1, 0, 1)
    assert document['categories'] == [dict(id=1, name='a'), dict(id=3, name='b')]
    # The ignored box is not among the counts; the box without area is lost.
    figures = (report.images, report.objects, report.copies, report.lost, report.doubled, report.clipped, report.parts)
    assert figures == (4, 7, 7, 2, 1, 2, 1)
    assert (report.undetected, report.without_objects, report.left_out, report.painted, report.resized) == (
        1,
        1,
        0,
        0,
        0,
    )
    assert report.regions == (1 + 1 + 1 + 2) / 4
    assert 'of 7 boxes 2 (28.6 %) lie in no region' in str(report)
    assert not (dataset / 'out.json.journal').exists()


def test_ignored_regions_are_painted_after_the_detector_looked(dataset):
    class Watching(Coarse):
        def __call__(self, images):
            assert all(image.float().mean() > 190 for image in images)
            return super().__call__(images)

    _, report = build(dataset, 'plain')
    assert (cv2.imread(str(dataset / 'plain/a/one.png')) == 200).all()
    _, report = build(dataset, 'painted', Watching(), options=MosaicOptions(paint='json'))
    assert report.painted == 2
    mosaic = cv2.imread(str(dataset / 'painted/a/one.png'))
    # Columns 140.. and rows 100..119 of the image, read from (90, 92) at twice the size; zooming blurs one pixel of the border.
    assert (mosaic[18:54, 102:] == 0).all()
    assert (mosaic[:14] == 200).all() and (mosaic[58:] == 200).all() and (mosaic[18:34, :98] == 200).all()
    assert (mosaic[38:54, 62:78] == 0).all()  # the ignored box

    texts = dataset / 'texts'
    texts.mkdir()
    for _, name, _, _ in SCENES:
        (texts / f'{name.rpartition("/")[2][:-4]}.txt').write_text('')
    (texts / 'one.txt').write_text('140,100,300,20,0,0,0,0,\n0,0,99,99,1,4,0,0\n')
    _, report = build(dataset, 'by_text', options=MosaicOptions(paint=str(texts)))
    assert report.painted == 1
    mosaic = cv2.imread(str(dataset / 'by_text/a/one.png'))
    assert (mosaic[18:54, 102:] == 0).all() and (mosaic[38:54, 62:78] == 200).all()


def test_options(dataset):
    options = MosaicOptions(on_empty='skip', min_visible=0.5, segmentation='none')
    document, report = build(dataset, options=options)
    assert [image['id'] for image in document['images']] == ['north', -3, 100]
    assert (report.left_out, report.lost, report.hidden, report.parts) == (1, 3, 1, 0)
    assert boxes_of(document, 'north') == [[20, 16, 80, 60], [0, 16, 38, 40], [60, 36, 20, 20]]
    assert 'segmentation' not in document['annotations'][0]
    document, report = build(dataset, 'full', options=MosaicOptions(drop_empty=True))
    assert [image['id'] for image in document['images']] == ['north', 7, 100]
    assert not (dataset / 'full/b/three.png').exists()


def test_quality(dataset):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cv2.imwrite(str(dataset / 'images/n.jpg'), pixels)
    (dataset / 'source.json').write_text(
        json.dumps(dict(images=[dict(id=1, file_name='n.jpg', width=240, height=320)], categories=[]))
    )
    sizes = []
    for quality in (95, 50):
        _, report = build(
            dataset,
            f'q{quality}',
            lambda images: [InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())],
            options=MosaicOptions(quality=quality),
        )
        sizes.append((dataset / f'q{quality}/n.jpg').stat().st_size)
        assert report.resized == 1  # the file is 320 wide, not 240
    assert sizes[0] > 1.5 * sizes[1]


def same(folder, one, other):
    assert (folder / f'{one}.json').read_text() == (folder / f'{other}.json').read_text()
    for _, name, _, _ in SCENES:
        assert (folder / one / name).read_bytes() == (folder / other / name).read_bytes()


def test_two_processes_make_what_one_makes(dataset):
    _, alone = build(dataset, 'one')
    _, both = build(dataset, 'two', shares=2)
    same(dataset, 'one', 'two')
    assert dataclasses.replace(both, path=alone.path) == alone


def test_goes_on_after_an_interruption(dataset):
    build(dataset, 'unbroken')
    with pytest.raises(RuntimeError, match='power cut'):
        build(dataset, coarse=Coarse(fail_at=3))
    with pytest.raises(DataError, match='are not done'):
        builder(dataset).join()
    journal = next((dataset / 'out.json.journal').glob('*.jsonl'))
    lines = journal.read_text().splitlines()
    assert [json.loads(line)['id'] for line in lines] == ['north', 7]
    journal.write_text(lines[0] + '\n' + lines[1][:20])  # killed in the middle of a line
    (dataset / 'out/a/one.png').unlink()  # and somebody tidied up

    coarse = Coarse()
    assert builder(dataset).start() == 0
    (dataset / 'out/a/one.png').write_bytes((dataset / 'unbroken/a/one.png').read_bytes())
    assert builder(dataset).start() == 1
    build(dataset, coarse=coarse)
    assert coarse.seen == [1, 2, 3]
    same(dataset, 'unbroken', 'out')


def test_the_locks_are_those_of_all_that_is_written(dataset):
    """Of the folder of images, and of the annotation file with its journal."""
    assert builder(dataset).locks == [dataset / 'out' / '.lock', dataset / '.out.json.lock']


def test_a_journal_of_other_settings_is_refused(dataset):
    with pytest.raises(RuntimeError, match='power cut'):
        build(dataset, coarse=Coarse(fail_at=2))
    other = builder(dataset, identity=dict(checkpoint='another'))
    with pytest.raises(DataError, match=r'checkpoint.*earlier run with other settings'):
        other.start()
    assert other.start(restart=True) == 0


def test_a_damaged_journal_is_named(dataset):
    made = builder(dataset)
    made.start()
    (dataset / 'out.json.journal' / 'settings.json').write_text('{')
    with pytest.raises(DataError, match=r'settings\.json: is damaged'):
        made.start()
    (dataset / 'out.json.journal' / 'settings.json').write_text('[1]')
    with pytest.raises(DataError, match=r'settings\.json: is damaged'):
        made.start()
    assert made.start(restart=True) == 0


@pytest.mark.parametrize(
    'change',
    [
        {'skipped': None}, {'skipped': 'no'}, {'copies': 3}, {'copies': [[]]}, {'copies': [[0, 1, 2, 3]]}, {'lost': 'x'},
        {'copies': [[9, 1, 2, 3, 4]]}, {'copies': [[0, 1, 2, 3, 10**400]]}, {'copies': [[0, 1, 2, 3, None]]}, {'width': None},
        {'regions': -1},
    ],
)  # fmt: skip
def test_an_image_whose_record_is_damaged_is_made_again(dataset, change):
    with pytest.raises(RuntimeError, match='power cut'):
        build(dataset, coarse=Coarse(fail_at=3))
    journal = next((dataset / 'out.json.journal').glob('*.jsonl'))
    first, second = map(json.loads, journal.read_text().splitlines())
    lines = [
        b'\xff',
        b'[' * 100_000,
        b'3',
        b'{}',
        json.dumps({**first, **change}).encode(),
        json.dumps(second).encode(),
    ]
    journal.write_bytes(b'\n'.join(lines) + b'\n')
    assert builder(dataset).start() == 1
    assert build(dataset)[1].images == 4


@pytest.mark.parametrize(('name', 'size'), [('x.xyz', 4), ('x', 4), ('x.jpg', 70000)])
def test_an_image_that_cannot_be_encoded_is_named(tmp_path, name, size):
    with pytest.raises(DataError, match=rf'{name}: cannot be encoded.*Received: \(1, {size}, 3\)'):
        mosaics.write_image_file(tmp_path / name, np.zeros((1, size, 3), np.uint8), 90)
    assert not list(tmp_path.iterdir())


def test_without_mosaics_the_means_are_zero(dataset):
    document, report = build(dataset, options=MosaicOptions(min_overlap=1.0, min_visible=1.0, drop_empty=True))
    assert document['images'] == [] and report.left_out == 4
    assert (report.regions, report.mosaic_w, report.mosaic_h) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d['images'].append(d['images'][0]), 'used twice'),
        (lambda d: d['images'][0].update(file_name='../one.png'), 'into the image folder'),
        (lambda d: d['annotations'][0].update(image_id=999), "no such id among 'images'"),
        (lambda d: d['annotations'][0].update(bbox=[1, 2, 3]), 'four finite numbers'),
        (lambda d: d.update(images=[], annotations=[], ignored_regions=[]), 'no image'),
    ],
)
def test_broken_annotations(dataset, change, message):
    document = json.loads((dataset / 'source.json').read_text())
    change(document)
    (dataset / 'source.json').write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        builder(dataset)


def test_refuses(dataset):
    with pytest.raises(ConfigError, match='another folder'):
        MosaicBuilder(dataset / 'source.json', dataset / 'images', dataset / 'images', dataset / 'x.json')
    with pytest.raises(ConfigError, match='on_empty'):
        MosaicOptions(on_empty='crash')
    with pytest.raises(ConfigError, match='quality'):
        MosaicOptions(quality=0)
    (dataset / 'images/four.png').unlink()
    with pytest.raises(DataError, match='four'):
        build(dataset)


@pytest.mark.parametrize(
    'output', ['annotations', 'annotations by a link', 'an image', 'mosaics are images', 'journal', 'folder']
)
def test_outputs_are_not_inputs(dataset, output):
    """Nothing is written then, and nothing was changed."""
    (dataset / 'link.json').symlink_to(dataset / 'source.json')
    (dataset / 'linked').symlink_to(dataset / 'images')
    image = dataset / 'images/four.png'
    out_dir, out_file = {
        'annotations': ('new', 'source.json'),
        'annotations by a link': ('new', 'link.json'),
        'an image': ('new', f'images/{image.name}'),
        'mosaics are images': ('linked', 'new.json'),
        'journal': ('new.json.journal', 'new.json'),
        'folder': ('new', 'images'),
    }[output]
    before = {path: path.read_bytes() for path in dataset.rglob('*') if path.is_file()}
    with pytest.raises(ConfigError, match='is an input of this call|two outputs|is a folder'):
        MosaicBuilder(dataset / 'source.json', dataset / 'images', dataset / out_dir, dataset / out_file)
    assert {path: path.read_bytes() for path in dataset.rglob('*') if path.is_file()} == before


def test_mosaics_of_other_images_stay(dataset):
    image = 'four.png'
    (dataset / 'taken').mkdir()
    (dataset / 'taken' / image).write_bytes(b'of another call')
    builder = MosaicBuilder(dataset / 'source.json', dataset / 'images', dataset / 'taken', dataset / 'new.json')
    with pytest.raises(DataError, match='was not made from this image'):
        builder.start()
    assert (dataset / 'taken' / image).read_bytes() == b'of another call' and not builder.journal.folder.exists()
    builder.journal.folder.mkdir()
    (builder.journal.folder / 'notes.txt').write_text("the user's")
    builder.journal.remove()
    assert [path.name for path in builder.journal.folder.iterdir()] == ['notes.txt']


def test_coarse_boxes_go_class_after_class_by_score_within_a_class():
    boxes = torch.arange(5.0)[:, None].repeat(1, 4)  # by descending score
    found = InstanceData(bboxes=boxes, labels=torch.tensor([2, 0, 2, 1, 0]))
    assert mosaics._in_class_order(found)[:, 0].tolist() == [1, 4, 3, 0, 2]
    assert mosaics._in_class_order(found).dtype == np.float64
    assert mosaics._in_class_order(found[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ('rectangle', 'columns', 'rows'),
    [
        ((2, 1, 3, 2), range(2, 5), range(1, 3)),
        ((2.5, 1.5, 1, 1), range(2, 4), range(1, 3)),  # every pixel that it touches
        ((-2, -1, 4, 3), range(2), range(2)),
        ((5, 3, 100, 100), range(5, 8), range(3, 6)),
        ((-9, 1, 4, 2), (), ()),  # left of the image
        ((1, -9, 4, 9), (), ()),  # above it
        ((9, 9, 4, 4), (), ()),
        ((3, 3, 0, 0), (), ()),
    ],
)
def test_painted_pixels(rectangle, columns, rows):
    pixels = np.ones((6, 8, 3), np.uint8)
    paint_black(pixels, [rectangle])
    black = {(y, x) for y in rows for x in columns}
    assert set(zip(*np.nonzero(pixels[..., 0] == 0))) == black


def test_boxes_keep_the_order_of_the_file(tmp_path):
    """Sixty boxes of two images in turn: more than a sort that happens to be stable for short lists would keep."""
    images = [dict(id=i, file_name=f'{i}.png', width=99, height=99) for i in (7, 4)]
    boxes = [dict(id=k, image_id=(7, 4)[k % 2], category_id=1, bbox=[k, 0, 2, 2], ignore=k % 3 == 0) for k in range(60)]
    document = dict(images=images, annotations=boxes, categories=[dict(id=1, name='a')])
    (tmp_path / 'source.json').write_text(json.dumps(document))
    first, second = builder(tmp_path).images
    assert (first.id, second.id) == (7, 4)
    assert first.boxes[:, 0].tolist() == list(range(0, 60, 2)) and second.boxes[:, 2].tolist() == [*range(3, 62, 2)]
    assert second.ignore.tolist() == [k % 3 == 0 for k in range(1, 60, 2)]
    assert [box[0] for box in first.painted] == list(range(0, 60, 6))
