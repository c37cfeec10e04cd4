"""Images that are cut into tiles: the boxes are those of the regions, cut out, at their places."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdet.apis import DetInferencer, tiling
from mmdet.apis.tiling import Tiling, count_tiles
from mmdet.core.post_processing import merge_views
from mmdet.errors import ConfigError, DataError
from mmdet.formats import windows
from mmdet.structures import DetDataSample
from tests.formats.image_kinds import tiff

from .blob_detector import blob_config

needs_rasterio = pytest.mark.skipif(not windows.has_rasterio(), reason='rasterio, the extra "geo", is not installed')
TILE, OVERLAP = (64, 48), 0.25


def field(height=150, width=200):
    """Black BGR image with bright blocks, some of them across the borders of tiles."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, w, h in (
        (3, 3, 8, 6),
        (44, 20, 9, 9),
        (60, 30, 20, 12),
        (100, 100, 5, 5),
        (180, 140, 20, 10),
        (130, 60, 30, 30),
    ):
        image[y : y + h, x : x + w] = 255
    return image


@pytest.fixture(scope='module')
def inferencer():
    return DetInferencer(blob_config(), device='cpu', show_progress=False)


@pytest.fixture
def by_rows(monkeypatch):
    """Everything counts as a large image."""
    opened = []

    def open_by_rows(*arguments, **options):
        opened.append(windows.open_tiled(*arguments, **options, whole_pixels=0))
        return opened[-1]

    monkeypatch.setattr(tiling, 'open_tiled', open_by_rows)
    monkeypatch.setattr(tiling, 'WHOLE_PIXELS', 0)
    monkeypatch.setattr(tiling, 'PICTURE_SIDE', 100)
    return opened


def cut_out(inferencer, image, options):
    """The merged predictions of all tiles, each given to the inferencer as an image of its own."""
    views = []
    for y in windows.slice_starts(image.shape[0], TILE[1], OVERLAP):
        for x in windows.slice_starts(image.shape[1], TILE[0], OVERLAP):
            tile = np.ascontiguousarray(image[y : y + TILE[1], x : x + TILE[0]])
            found = inferencer(tile, return_datasamples=True)['predictions'][0].pred_instances
            found.bboxes = found.bboxes + torch.tensor([x, y, x, y])
            views.append(found)
    merged = merge_views(views, options.nms, options.max_per_img)
    return dict(labels=merged.labels.tolist(), scores=merged.scores.tolist(), bboxes=merged.bboxes.tolist())


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('kind', ['array', 'png', 'tiff'])
def test_boxes_of_tiles_are_those_of_cut_out_regions(inferencer, tmp_path, by_rows, kind, batch_size):
    given = field()
    if kind != 'array':
        given = str(tmp_path / f'field.{kind}')
        cv2.imwrite(given, field())
    result = inferencer(given, tiles=dict(tile_wh=TILE, overlap=OVERLAP), batch_size=batch_size)
    assert result['predictions'] == [cut_out(inferencer, field(), Tiling(TILE, OVERLAP))]
    assert len(result['predictions'][0]['scores']) >= 6
    assert by_rows[0].whole is (kind == 'array' or not windows.has_rasterio())


def test_no_object_and_images_smaller_than_a_tile(inferencer):
    empty = {'labels': [], 'scores': [], 'bboxes': []}
    assert inferencer(np.zeros((150, 200, 3), np.uint8), tiles=64)['predictions'] == [empty]
    small = field(20, 30)
    assert inferencer(small, tiles=640)['predictions'] == inferencer(small)['predictions']


def test_largest_number_of_detections(inferencer, capsys):
    found = inferencer(field(), tiles=dict(tile_wh=TILE, max_per_img=2))['predictions'][0]
    assert len(found['scores']) == 2


@pytest.mark.parametrize(
    ('tiles', 'message'),
    [
        (0, 'tile_wh'),
        ((64,), 'tile_wh'),
        ((64, -1), 'tile_wh'),
        ('64', 'tile_wh'),
        (dict(tile=64), "takes only.*'tile'"),
        (True, 'tile_wh'),
        (dict(overlap=1), r'\[0, 1\)'),
        (dict(overlap='0.2'), r'\[0, 1\)'),
        (dict(max_per_img=2.5), 'max_per_img'),
        (dict(nms=0.5), 'tiles.nms'),
        (dict(nms=dict(type='nms', iou_thr=2)), 'iou_threshold'),
    ],
)
def test_wrong_tiles(inferencer, tiles, message):
    with pytest.raises(ConfigError, match=message):
        inferencer(field(), tiles=tiles)


def test_pictures_of_large_images_are_reduced(inferencer, tmp_path, by_rows):
    cv2.imwrite(str(tmp_path / 'a.png'), field())
    options = dict(tiles=160, return_vis=True, out_dir=str(tmp_path / 'out'), no_save_pred=False)
    result = inferencer(str(tmp_path / 'a.png'), **options)
    assert result['visualization'][0].shape == (75, 100, 3)
    written = json.loads((tmp_path / 'out' / 'preds' / 'a.json').read_text())
    assert written == result['predictions'][0] and [3.0, 3.0, 11.0, 9.0] in written['bboxes'], 'in pixels of the image'
    sample = inferencer(str(tmp_path / 'a.png'), tiles=64, return_datasamples=True)['predictions'][0]
    assert isinstance(sample, DetDataSample) and sample.ori_shape == (150, 200)


def test_steps_of_the_progress_bar(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'a.png'), field())
    (tmp_path / 'b.png').write_bytes(b'no image')
    inferencer = DetInferencer(blob_config(), device='cpu')
    result = inferencer(str(tmp_path), tiles=dict(tile_wh=TILE, overlap=OVERLAP), skip_broken=True)
    assert count_tiles(field(), TILE, OVERLAP) == 16 and len(result['predictions']) == 1
    assert [os.path.basename(name) for name, _ in result['skipped']] == ['b.png']
    assert '16/17' in capsys.readouterr().err
    with pytest.raises(DataError, match='b.png'):
        inferencer(str(tmp_path), tiles=64)


def sliced_config(whole=None):
    """A GFL of a few channels that looks at tiles of 64 x 64."""
    detector = Config.fromfile('configs/_base_/models/gfl_small_fpn.py').model
    norm = dict(type='GN', num_groups=4, requires_grad=True)
    detector.backbone.update(base_channels=8, stem_channels=8)
    detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    detector.bbox_head.update(
        num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1, reg_max=8, norm_cfg=norm
    )
    detector.test_cfg.update(score_thr=0.0, nms_pre=20)
    stage = dict(detector=detector, scale=(64, 64), flip=True, batch_size=2)
    model = dict(type='SlicedDet', stage=stage, tile_wh=(64, 64), overlap=0.3, max_per_img=300, whole=whole)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('car', 'bus')), pipeline=pipeline)
    return Config(dict(default_scope='mmdet', model=model, test_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize('whole', [None, dict(scale=(96, 64))])
def test_sliced_det_by_tiles_is_sliced_det(tmp_path, by_rows, whole):
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.bmp'), image)  # decoded whole, so that the stage for the whole image can look at it
    inferencer = DetInferencer(sliced_config(whole), device='cpu', show_progress=False)
    expected = inferencer(image)['predictions']
    assert not by_rows and len(expected[0]['scores']) > 50
    found = inferencer(str(tmp_path / 'a.bmp'), no_save_pred=True)['predictions']
    assert len(by_rows) == 1
    assert found[0]['labels'] == expected[0]['labels']
    np.testing.assert_allclose(found[0]['bboxes'], expected[0]['bboxes'], atol=1e-3)
    with pytest.raises(ConfigError, match='SlicedDet cuts its images itself'):
        inferencer(image, tiles=64)


class Louder(DetInferencer):
    """Its steps take arguments; it hands on copies of the inputs."""

    preprocess_kwargs = {'gain'}
    forward_kwargs = {'more'}
    visualize_kwargs = DetInferencer.visualize_kwargs | {'note'}

    def preprocess(self, inputs, batch_size=1, gain=1, **kwargs):
        for given, data in super().preprocess(inputs, batch_size, **kwargs):
            self.steps.append(f'gain {gain}')
            yield [image.copy() if isinstance(image, np.ndarray) else f'{image} ' for image in given], data

    def forward(self, inputs, more=0, **kwargs):
        samples = super().forward(inputs, **kwargs)
        for sample in samples:
            sample.pred_instances.scores = sample.pred_instances.scores + more
        return samples

    def visualize(self, inputs, preds, note=None, **kwargs):
        self.steps.append(note)
        return super().visualize(inputs, preds, **kwargs)


@pytest.mark.parametrize('tiles', [None, dict(tile_wh=(120, 100), overlap=0.1)])
def test_steps_with_arguments_run_for_each_tile(tiles):
    inferencer = Louder(blob_config(), device='cpu', show_progress=False)
    inferencer.steps = []
    image = field()
    expected = DetInferencer(blob_config(), device='cpu', show_progress=False)(image, tiles=tiles)['predictions'][0]
    result = inferencer([image, image], batch_size=4, tiles=tiles, gain=7, more=0.125, note='drawn')
    assert inferencer.steps == (['gain 7', 'drawn'] if tiles is None else ['gain 7', 'drawn'] * 2)
    for found in result['predictions']:
        assert found['bboxes'] == expected['bboxes']
        assert found['scores'] == [score + 0.125 for score in expected['scores']]


def test_changed_steps_see_large_images_too(tmp_path, by_rows):
    cv2.imwrite(str(tmp_path / 'a.bmp'), field())
    inferencer = Louder(sliced_config(), device='cpu', show_progress=False)
    inferencer.steps = []
    found = inferencer(str(tmp_path / 'a.bmp'), more=1.0)['predictions'][0]
    assert inferencer.steps[0] == 'gain 1' and min(found['scores']) > 1 and not by_rows


@needs_rasterio
def test_sliced_det_by_rows(tmp_path, by_rows):
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    (tmp_path / 'a.tif').write_bytes(tiff(image[..., ::-1]))
    inferencer = DetInferencer(sliced_config(), device='cpu', show_progress=False)
    expected, found = (inferencer(given)['predictions'][0] for given in (image, str(tmp_path / 'a.tif')))
    assert not by_rows[0].whole
    np.testing.assert_allclose(found['bboxes'], expected['bboxes'], atol=1e-3)
    inferencer = DetInferencer(sliced_config(dict(scale=(96, 64))), device='cpu', show_progress=False)
    with pytest.raises(ConfigError, match='whole'):
        inferencer(str(tmp_path / 'a.tif'))


def georeferenced(path):
    """A world file and its reference system, degrees, beside an image."""
    import rasterio

    cv2.imwrite(str(path), field()[:, :160])
    path.with_suffix('.pgw').write_text('0.5\n0\n0\n-0.5\n10.25\n49.75\n')
    path.with_suffix('.prj').write_text(rasterio.crs.CRS.from_epsg(4326).to_wkt())


@needs_rasterio
@pytest.mark.parametrize('tiles', [None, 160])
def test_geojson_is_written(inferencer, tmp_path, tiles):
    georeferenced(tmp_path / 'a.png')
    cv2.imwrite(str(tmp_path / 'b.png'), field())
    inferencer(str(tmp_path), out_dir=str(tmp_path / 'out'), no_save_pred=False, no_save_vis=True, tiles=tiles)
    assert sorted(os.listdir(tmp_path / 'out' / 'preds')) == ['a.geojson', 'a.json', 'b.json']
    features = json.loads((tmp_path / 'out' / 'preds' / 'a.geojson').read_text())['features']
    (corner,) = (f for f in features if f['properties']['bbox'] == [3.0, 3.0, 11.0, 9.0])
    assert corner['geometry']['coordinates'][0][0] == [11.5, 48.5] and corner['properties']['class'] == 'block'


def test_without_rasterio_one_line_says_so(inferencer, tmp_path, monkeypatch, caplog):
    cv2.imwrite(str(tmp_path / 'a.png'), field())
    (tmp_path / 'a.pgw').write_text('0.5\n0\n0\n-0.5\n10.25\n49.75\n')
    said = []
    monkeypatch.setattr('mmdet.apis.outputs.has_rasterio', lambda: False)
    monkeypatch.setattr('mmdet.apis.outputs.print_log', lambda text, **options: said.append(text))
    for _ in range(2):
        inferencer([str(tmp_path / 'a.png')] * 2, out_dir=str(tmp_path / 'out'), no_save_pred=False, no_save_vis=True)
    assert len(said) == 2 and all('rasterio' in text and 'a.png' in text for text in said), 'once in a call'
    assert 'a.geojson' not in os.listdir(tmp_path / 'out' / 'preds')


@needs_rasterio
@pytest.mark.parametrize(
    ('file', 'text', 'reason'),
    [
        ('a.prj', None, 'no reference system'),
        ('a.prj', 'x', 'no reference system'),
        ('a.pgw', 'x', 'where its pixels lie'),
    ],
)
def test_a_place_that_cannot_be_told_is_said(inferencer, tmp_path, monkeypatch, file, text, reason):
    said = []
    monkeypatch.setattr('mmdet.apis.outputs.print_log', lambda text, **options: said.append(text))
    georeferenced(tmp_path / 'a.png')
    (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)
    inferencer(str(tmp_path / 'a.png'), out_dir=str(tmp_path / 'out'), no_save_pred=False, no_save_vis=True)
    assert len(said) == 1 and reason in said[0]
    assert sorted(os.listdir(tmp_path / 'out' / 'preds')) == ['a.json']


def test_tiles_of_what_cannot_be_read_count_as_one():
    assert count_tiles('nowhere.png', TILE, 0) == 1
