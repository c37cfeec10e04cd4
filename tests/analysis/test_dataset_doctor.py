"""The doctor of data sets: clean data give no verdict, each kind of fault gives its own verdict and no other."""

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image

from mmdet.analysis.dataset_configs import read_config_parts
from mmdet.analysis.dataset_crowds import Crowd, QueryLimit, crowd
from mmdet.analysis.dataset_doctor import examine
from mmdet.analysis.dataset_findings import KINDS
from mmdet.analysis.dataset_images import NEAR_BITS, _in_order, equal_files, near_files, scan_images
from mmdet.analysis.dataset_inputs import input_sizes
from mmdet.analysis.dataset_output import write_examination
from mmdet.analysis.dataset_priors import head_settings
from mmdet.analysis.dataset_reading import read_parts, split_arguments, title_of
from mmdet.datasets.converters.convert import convert
from mmdet.formats.annotations import read_table
from mmdet.formats.visdrone import read_image_sizes
from mmdet.formats.voc import write_voc
from mmdet.formats.yolo import write_yolo
from mmdet.utils import ConfigError, DataError, load_config, register_all_modules
from mmdet.visualization.charts import escaped
from tests import processes
from tests.models import pair_detector as pair_detector  # registers it

WIDTH, HEIGHT = 160, 120
SPLITS = {'train': 6, 'val': 4}


def picture(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture that looks like no other: coarse random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def document(count: int, first_image: int) -> dict:
    """Two boxes of two classes in each image, far from each other and from the border."""
    images = [
        dict(id=first_image + k, file_name=f'{first_image + k}.png', width=WIDTH, height=HEIGHT) for k in range(count)
    ]
    annotations = []
    for image in images:
        for category, box in ((1, [10, 20, 50, 40]), (2, [90, 50, 40, 60])):
            annotations.append(
                dict(id=len(annotations) + 1, image_id=image['id'], category_id=category, bbox=box, area=box[2] * box[3], iscrowd=0)
            )  # fmt: skip
    return dict(images=images, annotations=annotations, categories=[dict(id=1, name='car'), dict(id=2, name='person')])


class Project:
    """A clean data set of two splits; ``train`` and ``val`` are the documents, written by :meth:`parts`."""

    def __init__(self, root):
        self.root = root
        self.train, self.val = document(SPLITS['train'], 1), document(SPLITS['val'], 101)
        for split in SPLITS:
            (root / split).mkdir()
            for image in getattr(self, split)['images']:
                cv2.imwrite(str(root / split / image['file_name']), picture(image['id']))

    def write(self):
        for split in SPLITS:
            (self.root / f'{split}.json').write_text(json.dumps(getattr(self, split)))

    def parts(self):
        self.write()
        return read_parts([self.root / f'{split}.json' for split in SPLITS])

    def config(self, **model):
        """The parts through a config with a GFL head; ``model`` are arguments of the head."""
        self.write()
        dataset = "dict(type='CocoDataset', ann_file='{0}.json', data_root={1!r}, data_prefix=dict(img='{0}/'), metainfo=dict(classes=('car', 'person')), pipeline={2})"
        pipeline = "[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(320, 240), keep_ratio=True)]"
        lines = [
            f'{split}_dataloader = dict(dataset={dataset.format(split, str(self.root), pipeline)})' for split in SPLITS
        ]
        lines.append('test_dataloader = val_dataloader')
        head = dict(type='GFLHead', reg_max=16, anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]))  # fmt: skip
        head.update(model)
        train_cfg = dict(assigner=dict(type='ATSSAssigner', topk=9))
        lines.append(f'model = dict(type="GFL", bbox_head={head!r}, train_cfg={train_cfg!r})')
        (self.root / 'config.py').write_text('\n'.join(lines))
        return load_config(str(self.root / 'config.py'))


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def codes(parts, **options) -> list[str]:
    return [verdict.code for verdict in examine(parts, **options).verdicts]


def test_clean_data_give_a_clean_page(project, tmp_path):
    found = examine(project.parts())
    assert found.verdicts == [] and found.summary() == 'OK: nothing was found.' and not found.has_errors
    page, table = write_examination(found, tmp_path / 'out', title='clean & tidy')
    text = page.read_text()
    assert (
        'Nothing was found' in text and 'clean &amp; tidy' in text and '<script' not in text and 'src="http' not in text
    )
    content = json.loads(table.read_text())
    assert content['ok'] is True and content['verdicts'] == []
    assert [(part['name'], part['images'], part['boxes']) for part in content['parts']] == [
        ('train', 6, 12),
        ('val', 4, 8),
    ]
    assert content['parts'][0]['boxes_by_class'] == {'car': 6, 'person': 6}


def test_clean_data_of_a_config(project):
    register_all_modules()
    config = project.config()
    parts = read_config_parts(config)
    assert [(part.name, part.split) for part in parts] == [('train', 'train'), ('val, test', 'val, test')]
    found = examine(parts, config=config)
    assert found.verdicts == []
    # 160 x 120 becomes 320 x 240: the boxes are 100 x 80 and 80 x 120, whose square roots of the area are 89 and 98.
    row = next(row for row in found.shares if row.part == 'train' and row.where == '320 x 240')
    assert row.shares == (0.0, 0.5, 0.5) and row.boxes == 12
    (cover,) = found.coverages
    assert cover.boxes == 12 and cover.unmatched == 0 and cover.any_beyond == 0


# ------------------------------------------------------------------------------------- one fault, one line


def box(project, **changes):
    project.train['annotations'][0].update(changes)


def add_box(project, **changes):
    rows = project.train['annotations']
    rows.append({**rows[0], 'id': len(rows) + 1, **changes})


def rename(document, old, new):
    for category in document['categories']:
        if category['name'] == old:
            category['name'] = new


def add_category(project, name, **values):
    for part in (project.train, project.val):
        part['categories'].append(dict(id=9, name=name, **values))


def roboflow_root(project):
    for part in (project.train, project.val):
        for category in part['categories']:
            category['supercategory'] = 'cars-and-people'
        part['categories'].insert(0, dict(id=0, name='cars-and-people', supercategory='none'))


def copy_file(project, source, target, split='val'):
    """An image file copied under the name of another one of a split."""
    (project.root / split / target).write_bytes((project.root / source).read_bytes())


def save_again(project, source, target):
    image = cv2.imread(str(project.root / source))
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    (project.root / target).write_bytes(data.tobytes())


def normalise(project):
    for row in project.train['annotations']:
        x, y, w, h = row['bbox']
        row['bbox'] = [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]


def corners(project):
    for row in project.train['annotations']:
        x, y, w, h = row['bbox'] = [60, 50, 90, 60] if row['category_id'] == 1 else [90, 60, 60, 50]
        row['bbox'] = [x, y, x + w, y + h]


def imbalance(project):
    rows = project.train['annotations']
    template = rows[0]
    rows.clear()
    for image in project.train['images']:
        for k in range(70):
            place = [2 + 15 * (k % 10), 2 + 16 * (k // 10), 12, 12]
            rows.append({**template, 'id': len(rows) + 1, 'image_id': image['id'], 'bbox': place, 'category_id': 1})
    rows[-1]['category_id'] = 2
    # Objects of 12 x 12 pixels are 80 pixels long at the input.


FAULTS = {
    'unknown_images': lambda p: add_box(p, image_id=999),
    'unknown_categories': lambda p: add_box(p, category_id=77),
    'impossible_boxes': lambda p: add_box(p, bbox=[1, 2, None, 4]),
    'impossible_sizes': lambda p: p.train['images'][0].update(width=-3),
    'repeated_image_ids': lambda p: p.train['images'].append(dict(p.train['images'][0])),
    'repeated_annotation_ids': lambda p: p.train['annotations'][0].update(id=2),
    'repeated_category_ids': lambda p: p.train['categories'].append(dict(id=1, name='car')),
    'missing_files': lambda p: (p.root / 'train/1.png').unlink(),
    'repeated_files': lambda p: (p.train['images'][0].update(file_name='2.png'), (p.root / 'train/1.png').unlink()),
    'unlisted_files': lambda p: cv2.imwrite(str(p.root / 'train/more.png'), picture(77)),
    'no_annotations': lambda p: p.val.pop('annotations'),
    'empty_images': lambda p: [p.train['annotations'].pop(0) for _ in range(2)],
    'unreadable': lambda p: (p.root / 'train/1.png').write_bytes((p.root / 'train/1.png').read_bytes()[:200]),
    'size_disagrees': lambda p: p.train['images'][0].update(width=WIDTH * 2, height=HEIGHT * 2),
    'size_swapped': lambda p: cv2.imwrite(str(p.root / 'train/1.png'), picture(1, HEIGHT, WIDTH)) and box(p, bbox=[10, 20, 40, 40]) is None and p.train['annotations'][1].update(bbox=[60, 50, 40, 60]),
    'deep_pixels': lambda p: cv2.imwrite(str(p.root / 'train/1.png'), picture(1).astype(np.uint16) * 16),
    'animated': lambda p: Image.fromarray(picture(1)).save(p.root / 'train/1.png', save_all=True, append_images=[Image.fromarray(picture(9))]),
    'blank': lambda p: cv2.imwrite(str(p.root / 'train/1.png'), np.full((HEIGHT, WIDTH, 3), 7, np.uint8)),
    'equal_across': lambda p: copy_file(p, 'train/1.png', '101.png'),
    'near_across': lambda p: save_again(p, 'train/1.png', 'val/101.png'),
    'equal_within': lambda p: copy_file(p, 'train/1.png', '2.png', 'train'),
    'near_within': lambda p: save_again(p, 'train/1.png', 'train/2.png'),
    'class_spelling': lambda p: rename(p.val, 'person', 'Person '),
    'repeated_names': lambda p: p.train['categories'].append(dict(id=9, name='car')),
    'split_classes': lambda p: p.train['annotations'].__setitem__(slice(None), [{**row, 'category_id': 1} for row in p.train['annotations']]),
    'root_category': roboflow_root,
    'unused_classes': lambda p: add_category(p, 'dog'),
    'imbalance': imbalance,
    'other_ids': lambda p: (p.val['categories'][1].update(id=5), [row.update(category_id=5) for row in p.val['annotations'] if row['category_id'] == 2]),
    'normalised': normalise,
    'corner_boxes': corners,
    'rotated': lambda p: box(p, attributes=dict(occluded=False, rotation=30.0)),
    'no_area': lambda p: box(p, bbox=[10, 20, 0, 40]),
    'below_pixel': lambda p: box(p, bbox=[10, 20, 0.4, 40]),
    'outside': lambda p: box(p, bbox=[200, 20, 50, 40]),
    'over_border': lambda p: box(p, bbox=[-5, 20, 50, 40]),
    'repeated': lambda p: add_box(p, bbox=[10, 20, 50, 41]),
    'two_classes': lambda p: add_box(p, category_id=2),
    'thin': lambda p: box(p, bbox=[10, 20, 100, 3]),
    'ignored_share': lambda p: [row.update(iscrowd=1) for row in p.train['annotations'][:4]],
}  # fmt: skip


@pytest.mark.parametrize('code', FAULTS)
def test_each_fault_gives_its_line_and_no_other(project, code, tmp_path):
    FAULTS[code](project)
    found = examine(project.parts())
    assert [verdict.code for verdict in found.verdicts] == [code]
    assert KINDS[code].title[1:] in found.verdicts[0].text and found.verdicts[0].total >= 1
    page, table = write_examination(found, tmp_path / 'out', title=code)  # draws the case, whatever it is
    assert escaped(KINDS[code].advice) in page.read_text()
    (verdict,) = json.loads(table.read_text())['verdicts']
    assert verdict['code'] == code and (
        verdict['cases'] or verdict['examples'] or code in ('ignored_share', 'no_annotations', 'normalised')
    )


def test_names_that_are_whole_paths(project):
    for image in project.train['images']:
        image['file_name'] = str(project.root / 'train' / image['file_name'])
    project.write()
    assert codes(read_parts([project.root / 'train.json'], project.root / 'train')) == []


def test_unknown_sizes(project):
    for image in project.train['images']:
        del image['width'], image['height']
    assert codes(project.parts()) == []  # the images say it
    for path in (project.root / 'train').iterdir():
        path.unlink()
    assert codes(project.parts()) == ['unknown_sizes']


CONFIG_FAULTS = {
    'class_spelling': lambda p: [rename(part, 'car', 'Car') for part in (p.train, p.val)],
    'missing_classes': lambda p: [rename(part, 'car', 'bus') for part in (p.train, p.val)] and [part['annotations'].__setitem__(slice(None), [row for row in part['annotations'] if row['category_id'] == 2]) for part in (p.train, p.val)],
    'left_out_classes': lambda p: (add_category(p, 'dog'), box(p, category_id=9)),
    'refused': lambda p: p.train['images'].clear() or p.train['annotations'].clear(),
}  # fmt: skip


@pytest.mark.parametrize('code', CONFIG_FAULTS)
def test_faults_beside_a_config(project, code):
    register_all_modules()
    CONFIG_FAULTS[code](project)
    config = project.config()
    assert code in codes(read_config_parts(config), config=config)


# ------------------------------------------------------------------------------------------ sizes, priors, tiles


def test_the_input_size_is_that_of_images_not_of_mosaics(repository):
    resize = dict(type='Resize', scale=(96, 64), keep_ratio=True)
    larger = [dict(type='ForegroundMosaic'), dict(resize, scale=(500, 500))]
    pipeline = [dict(type='RandomChoice', transforms=[[resize], larger]), dict(type='PackDetInputs')]
    assert [size.label for size in input_sizes(pipeline)] == ['96 x 64']
    detector = load_config(repository / 'configs/demo/gfl_demo.py').model
    shared = dict(type='UFPMPDet', coarse=dict(detector=detector, scale=(96, 64)), fine=dict(scale=(9, 9)))
    assert [head.name for head in head_settings(shared)] == ['GFLHead'], 'the one detector is trained by this config'
    assert head_settings(dict(shared, fine=shared['coarse'])) == []


@pytest.mark.parametrize(
    'fit, factors', [('centre', [[0.5, 0.5], [0.25, 0.25]]), ('shrink', [[0.5, 0.5], [0.25, 0.25]]), ('stretch', [[0.5, 1], [0.5, 0.25]])]
)  # fmt: skip
def test_the_input_size_of_a_warp(fit, factors):
    register_all_modules()
    step = dict(type='WarpResize', scale=(320, 320), fit=fit)
    (size,) = input_sizes([step])
    assert size.label == '320 x 320' and size.factors(np.array([[640, 320], [640, 1280]])).tolist() == factors
    assert [size.label for size in input_sizes([dict(step, zoom=(0.5, 1.5))])] == ['160 x 160', '480 x 480']


def test_the_last_bin_and_the_priors(project):
    register_all_modules()
    # Boxes of 100 x 80 and 80 x 120 pixels at the input reach 50 pixels and more from their priors, which are at most 7 x 4 away with these bins.
    config = project.config(reg_max=4, anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]))  # fmt: skip
    found = examine(read_config_parts(config), config=config)
    assert [verdict.code for verdict in found.verdicts] == ['last_bin']
    (cover,) = found.coverages
    assert cover.any_beyond == found.verdicts[0].total > 0 and cover.needed > 4
    assert f'Set reg_max={cover.needed}, which holds 99 %' in found.verdicts[0].advice
    config = project.config(reg_max=cover.needed)
    again = examine(read_config_parts(config), config=config)
    assert again.verdicts == [] and again.coverages[0].beyond.sum() == 0
    # Anchors of 256 pixels and more, 32 pixels apart, fit no box.
    config = project.config(anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[8], strides=[128, 256]))
    found = examine(read_config_parts(config), config=config)
    assert 'unmatched' in [verdict.code for verdict in found.verdicts]


def small_objects(side: int, width: int, height: int, count: int = 40) -> dict:
    """Objects of one size in a few rows of one large image."""
    images = [dict(id=1, file_name='x.jpg', width=width, height=height)]
    boxes = [[(side + 20) * (k % 10) + 5, (side + 20) * (k // 10) + 5, side, side] for k in range(count)]
    rows = [dict(id=k, image_id=1, category_id=1, bbox=box, area=side * side) for k, box in enumerate(boxes, 1)]
    return dict(images=images, annotations=rows, categories=[dict(id=1, name='car')])


@pytest.mark.parametrize(
    'side, width, height, tile',
    [
        (20, 4000, 3000, 512),  # 5 pixels at the input; 800 * 20 / 32 = 500 pixels become 800
        (4, 4000, 3000, 192),  # the zoom is four at most: 800 / 4 = 200, whose nearest multiple of 32 is 192
        (60, 4000, 3000, 1504),  # 16 pixels at the input; tiles of 1500 pixels make them 32
        (45, 1200, 1200, 0),  # 30 pixels at the input, but a tile of 1125 pixels is nearly the image
        (20, 640, 480, 0),  # 33 pixels at the input
        (12, 320, 240, 0),  # 40 pixels at the input
    ],
)
def test_the_rule_of_tiles(tmp_path, side, width, height, tile):
    (tmp_path / 'a.json').write_text(json.dumps(small_objects(side, width, height)))
    found = examine(read_parts([tmp_path / 'a.json']))
    assert found.tiles['a'][1].tile == tile
    assert [verdict.code for verdict in found.verdicts] == (['slicing'] if tile else [])
    if tile:
        assert f'tile_wh=({tile}, {tile})' in found.verdicts[0].advice and 'UFPMP-Det' in found.verdicts[0].advice


# ------------------------------------------------------------------------------------------------- image files


def test_facts_of_image_files(tmp_path):
    assert scan_images([]) == {} and equal_files({}) == [] and near_files({}) == []
    paths = {name: str(tmp_path / name) for name in ('a.png', 'b.jpg', 'c.png', 'copy.png', 'broken.png', 'absent.png')}
    cv2.imwrite(paths['a.png'], picture(1))
    cv2.imwrite(paths['b.jpg'], picture(1)[:118, 3:])  # saved anew, and cut a little
    cv2.imwrite(paths['c.png'], picture(2))
    (tmp_path / 'copy.png').write_bytes((tmp_path / 'a.png').read_bytes())
    (tmp_path / 'broken.png').write_bytes(b'no image')
    facts = scan_images(list(paths.values()))
    assert facts[paths['a.png']].size_wh == (WIDTH, HEIGHT) and not facts[paths['a.png']].error
    assert 'broken.png' in facts[paths['broken.png']].error and 'no such image' in facts[paths['absent.png']].error
    assert equal_files(facts) == [[paths['a.png'], paths['copy.png']]]
    ((first, second, bits),) = near_files(facts)
    assert (first, second) == (paths['a.png'], paths['b.jpg']) and 0 < bits <= NEAR_BITS
    headers = scan_images([paths['a.png']], pixels=False)[paths['a.png']]
    assert headers.size_wh == (WIDTH, HEIGHT) and not headers.digest and not headers.bits


def test_workers_find_the_same(tmp_path):
    paths = [str(tmp_path / f'{k}.png') for k in range(9)]
    for k, path in enumerate(paths):
        cv2.imwrite(path, picture(k))
    facts = scan_images(paths, workers=1)
    assert facts == scan_images(paths) and list(facts) == paths
    with ThreadPoolExecutor(3) as pool:  # several end in any order
        assert list(_in_order(pool, paths, True, ahead=4)) == list(facts.values())


def test_photos_turned_by_exif_and_boxes_of_the_turned_photo(project):
    """The file states the size of the stored pixels; the dataset sees the turned photo, in which the boxes lie right."""
    image = Image.fromarray(picture(1, HEIGHT, WIDTH)[..., ::-1])  # upright: 120 wide, 160 high
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(project.root / 'train/1.jpg', exif=exif)
    (project.root / 'train/1.png').unlink()
    project.train['images'][0]['file_name'] = '1.jpg'
    box(project, bbox=[10, 100, 50, 40])  # below the lower border of 160 x 120
    project.train['annotations'][1]['bbox'] = [70, 50, 40, 60]
    found = examine(project.parts())
    assert [verdict.code for verdict in found.verdicts] == ['size_swapped']
    assert found.sizes[0][0].tolist() == [HEIGHT, WIDTH]


# ------------------------------------------------------------------------------------------------------- formats


def test_formats_give_the_same_parts(project, tmp_path):
    """What a converter writes is read back: counts of images, boxes and classes are those of the COCO files."""
    project.write()
    for split in SPLITS:
        table = read_table(tmp_path / f'{split}.json', tmp_path / split)
        write_voc(tmp_path / 'voc', {split: table})
        write_yolo(tmp_path / 'yolo', {split: table})
    voc = tmp_path / 'voc'
    (voc / 'JPEGImages').mkdir(exist_ok=True)
    for split in SPLITS:
        for file in (tmp_path / split).iterdir():
            (voc / 'JPEGImages' / file.name).write_bytes(file.read_bytes())
    parts = read_parts([voc])
    assert [(part.name, len(part.file_names), len(part.image)) for part in parts] == [('train', 6, 12), ('val', 4, 8)]
    assert parts[0].bbox[:2].tolist() == [[10, 20, 50, 40], [90, 50, 40, 60]] and examine(parts).verdicts == []


def other_formats(project, root):
    """The training split of the project in each format without ids, images beside it; by format what is read."""
    project.train['categories'][1]['name'] = 'pedestrian'  # a class of VisDrone
    project.write()
    for to in ('yolo', 'voc', 'csv', 'labelme', 'visdrone'):
        source = root / 'train.json' if to != 'visdrone' else root / 'voc/Annotations'
        place = root / (to if to != 'csv' else 'csv/train.csv')
        place.parent.mkdir(exist_ok=True)
        options = dict(image_root=root / 'train') if to != 'visdrone' else dict(image_root=root / 'voc/JPEGImages')
        convert(source, place, to, images='leave' if to == 'csv' else 'copy', **options)
    for file in (root / 'train').iterdir():
        (root / 'csv' / file.name).write_bytes(file.read_bytes())
    return {
        'yolo': root / 'yolo',
        'voc': root / 'voc',
        'csv': root / 'csv',
        'labelme': root / 'labelme',
        'visdrone': root / 'visdrone',
    }


@pytest.mark.parametrize('data', [b'', b'no image'])
def test_broken_images_get_their_line_in_every_format(project, tmp_path, data):
    for kind, path in other_formats(project, tmp_path).items():
        (image,) = path.rglob('3.png')
        image.write_bytes(data)
        (part,) = read_parts([path])
        found = {verdict.code: verdict.total for verdict in examine([part]).verdicts}
        found.pop('unused_classes', None)  # eight of VisDrone's ten
        assert found == {'unreadable': 1}, kind
        assert len(part.file_names) == 6 and len(part.image) == (10 if kind == 'yolo' else 12), kind


def test_sizes_that_tables_state_are_compared_with_the_images(project, tmp_path):
    table = tmp_path / 'train/boxes.csv'
    rows = ['1.png,120,160,car,10,20,60,60', '2.png,160,120,person,90,50,130,110', '3.png,160,120,car,10,20,60,60']
    table.write_text('\n'.join(['filename,width,height,class,xmin,ymin,xmax,ymax', *rows]))
    assert [verdict.counts for verdict in examine(read_parts([table])).verdicts if verdict.code == 'size_swapped'] == [
        {'boxes': 1}
    ]
    other = tmp_path / 'other.csv'  # names have no numbers, so that none can differ
    other.write_text('filename,class,xmin,ymin,xmax,ymax\ntrain/4.png,person,10,20,60,60\n')
    assert 'other_ids' not in codes(read_parts([table, other]))


def test_what_a_reader_leaves_out(project, tmp_path):
    path = other_formats(project, tmp_path)['yolo']
    (path / 'labels/train/stranger.txt').write_text('0 0.5 0.5 0.1 0.1\n')
    (verdict,) = examine(read_parts([path])).verdicts
    assert verdict.code == 'left_out' and verdict.names == ['train: 1 label files without an image.']


def test_a_data_set_that_makes_its_files(tmp_path):
    register_all_modules()
    part = "dict(type='DroneScenesDataset', data_root={0!r}, ann_file='annotations/{1}.json', data_prefix=dict(img='{1}/images/'), generate=dict(num_train=2, num_val=1), pipeline=[])"
    lines = [f'{split}_dataloader = dict(dataset={part.format(str(tmp_path / "scenes"), split)})' for split in SPLITS]
    (tmp_path / 'scenes.py').write_text('\n'.join(lines))
    parts = read_config_parts(load_config(str(tmp_path / 'scenes.py')))
    assert [(part.name, len(part.file_names)) for part in parts] == [('train', 2), ('val', 1)]
    assert f'of {len(parts[0].image)} boxes' in parts[0].account[0]


def test_visdrone_without_images_and_with_sizes(tmp_path):
    (tmp_path / 'annotations').mkdir()
    rows = ['10,20,50,40,1,4,0,0', '90,50,40,60,1,1,0,0', '100,5,50,20,0,0,0,0', '10,90,20,20,1,11,0,0']
    for name in ('a', 'b'):
        (tmp_path / 'annotations' / f'{name}.txt').write_text('\n'.join(rows) + '\n')
    (part,) = read_parts([tmp_path / 'annotations'])
    assert part.name == tmp_path.name and part.file_names == ['a.jpg', 'b.jpg'] and part.image_root is None
    assert part.counted.tolist() == [True] * 4 + [False] * 4 and part.label.tolist() == [3, 0] * 2 + [-1] * 4
    assert codes([part]) == ['unknown_sizes', 'unused_classes', 'ignored_share']
    (part,) = read_parts([tmp_path], sizes={'a': (160, 120), 'b': (120, 90)})
    verdicts = {verdict.code: verdict for verdict in examine([part]).verdicts}
    assert 'unknown_sizes' not in verdicts and verdicts['over_border'].counts == {tmp_path.name: 1}


def test_what_cannot_be_read(tmp_path):
    (tmp_path / 'broken.json').write_text('{"images": [')
    (tmp_path / 'list.json').write_text('[]')
    (tmp_path / 'nothing').mkdir()
    for name, message in (
        ('broken.json', 'broken JSON'),
        ('list.json', 'JSON object'),
        ('nothing', 'no known format'),
        ('absent', 'no such'),
    ):
        with pytest.raises(DataError, match=message):
            read_parts([tmp_path / name])


def test_names_and_arguments(project, tmp_path):
    project.write()
    train, val = str(tmp_path / 'train.json'), str(tmp_path / 'val.json')
    assert split_arguments([train]) == ([train], None)
    assert split_arguments([train, str(tmp_path / 'train')]) == ([train], str(tmp_path / 'train'))
    assert split_arguments([train, val]) == ([train, val], None)
    with pytest.raises(ConfigError, match='twice'):
        split_arguments([train, str(tmp_path / 'train')], str(tmp_path / 'val'))
    with pytest.raises(ConfigError, match='alone'):
        split_arguments(['a.py', train])
    for name in ('a', 'b'):
        (tmp_path / name / 'train').mkdir(parents=True)
        (tmp_path / name / 'train/_annotations.coco.json').write_text((tmp_path / 'train.json').read_text())
    files = [tmp_path / name / 'train/_annotations.coco.json' for name in ('a', 'b')]
    assert [part.name for part in read_parts(files)] == ['a/train', 'b/train'] and title_of(files) == 'train'


def test_yolo_through_a_config_and_its_account(project, tmp_path):
    """The parts of a YOLO folder are read whole; the account is that of the dataset."""
    register_all_modules()
    project.write()
    write_yolo(tmp_path / 'yolo', {split: read_table(tmp_path / f'{split}.json', tmp_path / split) for split in SPLITS})
    for split in SPLITS:
        folder = tmp_path / 'yolo/images' / split
        folder.mkdir(parents=True, exist_ok=True)
        for file in (tmp_path / split).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    lines = [
        f"{split}_dataloader = dict(dataset=dict(type='YOLODataset', ann_file={str(tmp_path / 'yolo')!r}, split={split!r}, pipeline=[]))"
        for split in SPLITS
    ]
    (tmp_path / 'yolo.py').write_text('\n'.join(lines))
    config = load_config(str(tmp_path / 'yolo.py'))
    parts = read_config_parts(config)
    assert [(part.name, len(part.file_names), len(part.image)) for part in parts] == [('train', 6, 12), ('val', 4, 8)]
    assert np.allclose(parts[0].bbox[:2], [[10, 20, 50, 40], [90, 50, 40, 60]])
    assert all(part.refusal == '' for part in parts)
    parts[0].account = ['uses 6 of 6 images and 12 of 12 boxes']
    found = examine(parts, config=config)
    assert found.verdicts == []
    page, table = write_examination(found, tmp_path / 'out', title='yolo')
    assert 'uses 6 of 6 images' in page.read_text()
    assert json.loads(table.read_text())['parts'][0]['account'] == parts[0].account


def test_images_without_annotations_in_a_config(project, tmp_path):
    register_all_modules()
    (tmp_path / 'images.py').write_text(
        f"test_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='', data_prefix=dict(img={str(tmp_path / 'train')!r}), test_mode=True, metainfo=dict(classes=('car',)), pipeline=[]))"
    )
    assert codes(read_config_parts(load_config(str(tmp_path / 'images.py')))) == ['no_annotations']


def test_an_image_folder_of_a_config_that_is_not_there(project, tmp_path):
    register_all_modules()
    config = project.config()
    (tmp_path / 'train').rename(tmp_path / 'elsewhere')
    found = examine(read_config_parts(config), config=config)
    assert [(verdict.code, verdict.counts) for verdict in found.verdicts] == [('missing_files', {'train': 6})]


@pytest.mark.parametrize(
    ('model', 'expected'),
    [
        (dict(type='PairDetector', num_queries=2), {}),
        (dict(type='SSDHead'), {}),  # of a detector without queries
        (dict(type='PairDetector', num_queries=1), {'train': 6, 'val, test': 4}),
        # The left half of an image has one object, the right half the other.
        (dict(type='SlicedDet', stage=dict(detector=dict(type='PairDetector', num_queries=1)), tile_wh=(80, 120), overlap=0), {}),
        (dict(type='SlicedDet', stage=dict(detector=dict(type='PairDetector', num_queries=1))), {'train (stage)': 6, 'val, test (stage)': 4}),
        (dict(type='UFPMPDet', coarse=dict(detector=dict(type='PairDetector', num_queries=2)), fine=dict(detector=dict(type='PairDetector', num_queries=1)), ufp=dict(min_score=0.2)),
         {'train (fine)': 6, 'val, test (fine)': 4}),
        (dict(type='UFPMPDet', coarse=dict(detector=dict(type='PairDetector', num_queries=1))), {'train (coarse)': 6, 'train (fine)': 6, 'val, test (coarse)': 4, 'val, test (fine)': 4}),
    ],
)  # fmt: skip
def test_objects_beyond_the_queries(project, model, expected):
    register_all_modules()
    config = project.config()
    config.model = ConfigDict(model)
    found = {verdict.code: verdict for verdict in examine(read_config_parts(config), config=config).verdicts}
    assert set(found) == ({'crowded'} if expected else set())
    if expected:
        assert dict(sorted(found['crowded'].counts.items())) == expected and 'num_queries' in found['crowded'].advice
    if 'train' in expected:
        assert (
            'train: up to 2 objects in an image, where the detector finds 1; 6 of 12 cannot be found.'
            in found['crowded'].detail
        )


def test_the_crowds_of_visdrone(sample_data):
    """Of the 38,759 objects in 548 images 34 are beyond 300 in an image, in three images; tiles of 640 pixels have at most 225."""
    folder = sample_data / 'visdrone_val_scored'
    (part,) = read_parts([folder / 'annotations'], None, read_image_sizes(folder / 'image_sizes.txt'))
    objects = part.bbox[part.counted], part.image[part.counted], part.sizes_wh
    whole = QueryLimit(300)
    seen = crowd(whole, *objects)
    assert (len(seen.images), seen.lost, seen.largest) == (3, 34, 317)
    assert crowd(whole.on_tiles(640, 0.2), *objects) == Crowd(largest=225)
    assert crowd(QueryLimit(300, 'fine', ufp={}), *objects) == Crowd(seen.images, lost=63, largest=331)


@pytest.mark.slow
def test_the_tool(project, repository, tmp_path):
    project.write()
    call = ['tools/dataset_doctor.py', str(tmp_path / 'train.json'), str(tmp_path / 'train'), '--out-dir', str(tmp_path / 'out')]  # fmt: skip
    clean = processes.run([*call, '--strict'], cwd=repository)
    assert clean.returncode == 0 and clean.stdout.startswith('OK') and clean.stderr == ''
    (tmp_path / 'train/1.png').unlink()
    faulty = processes.run(call, cwd=repository)
    assert faulty.returncode == 0 and faulty.stdout.startswith(
        'error: Images of the annotations without a file: 1 in train.'
    )
    assert processes.run([*call, '--strict'], cwd=repository).returncode == 1
    (tmp_path / 'train.json').write_text('{')
    broken = processes.run(call, cwd=repository)
    assert broken.returncode == 2 and 'broken JSON' in broken.stderr
