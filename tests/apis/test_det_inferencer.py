import json
import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.infer import BaseInferencer

from mmdet.apis import DetInferencer
from mmdet.apis.inference import predict_batch
from mmdet.apis.known_models import config_by_name, known_models
from mmdet.apis.sources import InputNames, collect_inputs, count_sources, is_video, output_suffix, prefetch_batches
from mmdet.structures import DetDataSample
from mmdet.utils import CheckpointError, ConfigError, DataError, ModelInputError

from .blob_detector import blob_config, scene

BOX = [20.0, 10.0, 60.0, 30.0]


@pytest.fixture(scope='module')
def inferencer():
    return DetInferencer(blob_config(), device='cpu', show_progress=False)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'images'
    (root / 'deep').mkdir(parents=True)
    cv2.imwrite(str(root / 'a.png'), scene())
    cv2.imwrite(str(root / 'b.png'), scene((0, 0, 40, 40)))
    cv2.imwrite(str(root / 'c.png'), np.zeros((80, 160, 3), np.uint8))
    cv2.imwrite(str(root / 'deep' / 'a.png'), scene((8, 8, 16, 16), 320, 160))
    (root / 'notes.txt').write_text('no image')
    return root


def test_no_object(inferencer, tmp_path):
    result = inferencer(np.zeros((80, 160, 3), np.uint8), out_dir=str(tmp_path), no_save_pred=False, return_vis=True)
    assert result['predictions'] == [{'labels': [], 'scores': [], 'bboxes': []}]
    assert (result['visualization'][0] == 0).all()


def test_array_path_and_list_agree(inferencer, folder):
    path = str(folder / 'a.png')
    expected = {'labels': [1], 'scores': [0.75], 'bboxes': [BOX]}
    assert inferencer(path)['predictions'] == [expected]
    assert inferencer(cv2.imread(path))['predictions'] == [expected]
    assert inferencer([path, cv2.imread(path)])['predictions'] == [expected] * 2
    assert inferencer(path)['visualization'] == []


def test_on_a_device(device, folder):
    found = DetInferencer(blob_config(), device=device, show_progress=False)(str(folder / 'a.png'), return_vis=True)
    assert found['predictions'] == [{'labels': [1], 'scores': [0.75], 'bboxes': [BOX]}]
    assert found['visualization'][0][20, [19, 60]].tolist() == [[250, 20, 10]] * 2, (
        'the outline in the colour of the class'
    )


@pytest.mark.parametrize('batch_size', [1, 3, 7])
def test_folder_in_batches(inferencer, folder, batch_size):
    result = inferencer(str(folder), batch_size=batch_size, recursive=True)
    assert [p['bboxes'] for p in result['predictions']] == [[BOX], [[0, 0, 40, 40]], [], [[8, 8, 16, 16]]]
    assert [name.rpartition('images/')[2] for name in result['inputs']] == ['a.png', 'b.png', 'c.png', 'deep/a.png']


def test_pattern(inferencer, folder):
    assert len(inferencer(str(folder / '[ab].png'))['predictions']) == 2


def test_files_are_written_under_names_of_their_own(inferencer, folder, tmp_path):
    out = tmp_path / 'out'
    inferencer(str(folder), recursive=True, out_dir=str(out), no_save_pred=False, batch_size=2)
    assert sorted(p.name for p in (out / 'vis').iterdir()) == ['a.png', 'a_2.png', 'b.png', 'c.png']
    assert sorted(p.name for p in (out / 'preds').iterdir()) == ['a.json', 'a_2.json', 'b.json', 'c.json']
    assert json.loads((out / 'preds' / 'a_2.json').read_text())['bboxes'] == [[8, 8, 16, 16]]


def test_nothing_is_written_without_out_dir_or_when_switched_off(inferencer, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    inferencer(str(folder), no_save_pred=False)
    inferencer(str(folder), out_dir='out', no_save_vis=True)
    assert sorted(tmp_path.rglob('*')) == before


def test_arrays_are_numbered_across_calls(tmp_path):
    inferencer = DetInferencer(blob_config(), device='cpu', show_progress=False)
    for _ in range(2):
        inferencer([scene(), scene()], out_dir=str(tmp_path))
    assert sorted(p.name for p in (tmp_path / 'vis').iterdir()) == [f'{k:08}.jpg' for k in range(4)]


def test_pictures(inferencer, folder):
    result = inferencer(str(folder / 'a.png'), return_vis=True, pred_score_thr=0.5)
    assert result['visualization'][0][20, 19].tolist() == [250, 20, 10], 'colour of class 1 in the dataset'
    for options in (dict(pred_score_thr=0.8), dict(draw_pred=False)):
        result = inferencer(str(folder / 'a.png'), return_vis=True, **options)
        assert result['visualization'][0][20, 19].tolist() == [0, 0, 0]
        assert len(result['predictions'][0]['scores']) == 1


def test_data_samples(inferencer):
    result = inferencer([scene()], return_datasamples=True)
    sample = result['predictions'][0]
    assert isinstance(sample, DetDataSample) and sample.pred_instances.bboxes.tolist() == [BOX]
    assert sample.pred_instances.labels.tolist() == [1] and sample.ori_shape == (80, 160)


def test_broken_and_missing_images(inferencer, folder):
    (folder / 'b2.png').write_bytes((folder / 'b.png').read_bytes()[:60])
    with pytest.raises(DataError, match='b2.png'):
        inferencer(str(folder))
    result = inferencer(str(folder), skip_broken=True, batch_size=2)
    assert len(result['predictions']) == 3
    assert [name.rpartition('/')[2] for name, _ in result['skipped']] == ['b2.png']
    with pytest.raises(DataError, match='nowhere.png'):
        inferencer([str(folder / 'nowhere.png')])


def test_only_broken_images(inferencer, tmp_path):
    (tmp_path / 'x.png').write_bytes(b'no image')
    assert inferencer(str(tmp_path), skip_broken=True)['predictions'] == []


def test_video(inferencer, tmp_path):
    path = tmp_path / 'v.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (160, 80))
    for shift in (0, 8, 16):
        writer.write(scene((20 + shift, 10, 60 + shift, 30)))
    writer.write(np.zeros((80, 160, 3), np.uint8))
    writer.release()
    out = tmp_path / 'out'
    result = inferencer([str(path), scene()], batch_size=3, out_dir=str(out), no_save_pred=False)
    assert [round(p['bboxes'][0][0]) if p['bboxes'] else None for p in result['predictions']] == [20, 28, 36, None, 20]
    assert result['inputs'][:2] == ['v/000000', 'v/000001']
    lines = [json.loads(line) for line in (out / 'preds' / 'v.jsonl').read_text().splitlines()]
    assert [line['frame'] for line in lines] == [0, 1, 2, 3] and lines[3]['bboxes'] == []
    written = cv2.VideoCapture(str(out / 'vis' / 'v.mp4'))
    assert int(written.get(cv2.CAP_PROP_FRAME_COUNT)) == 4 and written.get(cv2.CAP_PROP_FPS) == 5
    assert not [p for p in out.rglob('*') if '.tmp' in p.name]


def write_video(path, frames, fps=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, (160, 80))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return str(path)


def test_each_video_has_files_of_its_own(inferencer, tmp_path):
    """Of videos and images in one call; pictures and predictions can be switched off."""
    videos = [write_video(tmp_path / name, [scene()] * count) for name, count in (('a.avi', 2), ('b.avi', 3))]
    out = tmp_path / 'out'
    result = inferencer([videos[0], scene(), videos[1]], batch_size=2, out_dir=str(out), no_save_pred=False)
    names = ['a/000000', 'a/000001', result['inputs'][2], 'b/000000', 'b/000001', 'b/000002']
    assert result['inputs'] == names and names[2].isdigit()
    assert sorted(p.name for p in (out / 'vis').iterdir()) == [f'{names[2]}.jpg', 'a.mp4', 'b.mp4']
    assert sorted(p.name for p in (out / 'preds').iterdir()) == [f'{names[2]}.json', 'a.jsonl', 'b.jsonl']
    assert len((out / 'preds' / 'b.jsonl').read_text().splitlines()) == 3
    assert cv2.VideoCapture(str(out / 'vis' / 'a.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    inferencer(videos[0], out_dir=str(tmp_path / 'x'), no_save_vis=True, no_save_pred=False)
    inferencer(videos[0], out_dir=str(tmp_path / 'y'))
    assert {p.name for p in (tmp_path / 'x').rglob('*.*')} == {'names.jsonl', 'a.jsonl'}
    assert {p.name for p in (tmp_path / 'y').rglob('*.*')} == {'names.jsonl', 'a.mp4'}


def test_colours_of_a_video(inferencer, tmp_path):
    blue = np.zeros((80, 160, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    inferencer(write_video(tmp_path / 'v.avi', [blue]), out_dir=str(tmp_path / 'out'))
    _, frame = cv2.VideoCapture(str(tmp_path / 'out' / 'vis' / 'v.mp4')).read()
    assert frame[40, 80] == pytest.approx([200, 0, 0], abs=12)


def test_an_interrupted_video_leaves_nothing(tmp_path, monkeypatch):
    inferencer = DetInferencer(blob_config(), device='cpu', show_progress=False)
    video = write_video(tmp_path / 'v.avi', [scene()] * 4)
    calls = []

    def failing(model, batch):
        calls.append(len(batch))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict_batch(model, batch)

    monkeypatch.setattr('mmdet.apis.det_inferencer.predict_batch', failing)
    with pytest.raises(KeyboardInterrupt):
        inferencer(video, batch_size=3, out_dir=str(tmp_path / 'out'), no_save_pred=False)
    left = [path.name for path in (tmp_path / 'out').rglob('*') if path.is_file()]
    assert calls == [3, 1] and left == ['names.jsonl']
    (tmp_path / 'file').write_text('')
    for options in (dict(), dict(no_save_vis=True, no_save_pred=False)):
        with pytest.raises(DataError, match='could not be written'):
            inferencer(video, out_dir=str(tmp_path / 'file' / 'below'), **options)


def test_frames_of_a_video_agree_in_size(tmp_path):
    """One legend row on each frame, also on those without an object; on images it follows the number of objects."""
    inferencer = DetInferencer(blob_config(), device='cpu', show_progress=False)
    frames = [scene((20, 10, 60, 30), 200, 300), scene((0, 0, 0, 0), 200, 300)]
    writer = cv2.VideoWriter(str(tmp_path / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (300, 200))
    for frame in frames:
        writer.write(frame)
    writer.release()
    result = inferencer([str(tmp_path / 'v.avi'), *frames], return_vis=True)
    assert [picture.shape[0] for picture in result['visualization']] == [217, 217, 217, 200]


def test_no_legend_in_videos_of_a_config_without(tmp_path):
    config = blob_config()
    config.visualizer = dict(type='DetLocalVisualizer', legend=False, line_width=3, bbox_color='red', name='other')
    inferencer = DetInferencer(config, device='cpu', show_progress=False)
    video = write_video(tmp_path / 'v.avi', [scene()])
    result = inferencer([video, scene()], return_vis=True)
    assert [picture.shape for picture in result['visualization']] == [(80, 160, 3)] * 2
    assert (result['visualization'][1][20, 17:20] == [255, 0, 0]).all(), 'three pixels wide'


def test_grey_images_are_drawn_in_colour(inferencer):
    config = blob_config()
    config.test_dataloader.dataset.dataset.pipeline[0] = dict(type='LoadImageFromFile', color_type='grayscale')
    config.model.data_preprocessor = dict(type='DetDataPreprocessor', mean=[0], std=[1], pad_size_divisor=32)
    result = DetInferencer(config, device='cpu', show_progress=False)(scene()[..., 0], return_vis=True)
    assert result['visualization'][0].shape == (80, 160, 3)


def test_names_of_configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_by_name('gfl_demo').endswith('configs/demo/gfl_demo.py')
    (tmp_path / 'gfl_demo').write_text('')
    for name in ('gfl_demo', 'gfl_demo.py', 'no_such_config'):
        assert config_by_name(name) == name


def test_bad_workers(inferencer):
    for value in (0, -1, 1.5):
        with pytest.raises(ConfigError, match='num_workers'):
            inferencer(scene(), num_workers=value)
    with pytest.raises(ConfigError, match='model'):
        DetInferencer()


def test_broken_video_leaves_nothing(inferencer, tmp_path):
    (tmp_path / 'v.mp4').write_bytes(b'no video')
    with pytest.raises(DataError, match='v.mp4'):
        inferencer(str(tmp_path / 'v.mp4'), out_dir=str(tmp_path / 'out'))
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['sources']


@pytest.mark.parametrize(
    'inputs, error, text',
    [
        ([], DataError, 'empty'),
        (3, ModelInputError, 'int'),
        ('nowhere/', DataError, 'nowhere'),
        ('nowhere/*.jpg', DataError, 'matches the pattern'),
        (np.zeros((8, 8, 3)), ModelInputError, 'float64'),
    ],
)
def test_bad_inputs(inferencer, inputs, error, text):
    with pytest.raises(error, match=text):
        inferencer(inputs)


def test_empty_folder(inferencer, tmp_path):
    with pytest.raises(DataError, match='no images'):
        inferencer(str(tmp_path))


def test_bad_arguments(inferencer, tmp_path):
    with pytest.raises(ConfigError, match='batch_size'):
        inferencer(scene(), batch_size=0)
    with pytest.raises(ConfigError, match='scope'):
        DetInferencer(blob_config(), scope='mmseg')
    with pytest.raises(ConfigError, match='is a checkpoint already; name a config'):
        DetInferencer('x.pth', weights='y.pth')


def test_model_from_its_checkpoint_alone(inferencer, tmp_path):
    checkpoint = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=inferencer.model.state_dict(), meta=dict(cfg='raise SystemExit')), checkpoint)
    with pytest.raises(CheckpointError, match='model=<config file>'):
        DetInferencer(str(checkpoint))
    blob_config().dump(str(tmp_path / 'blob.py'))
    again = DetInferencer(str(checkpoint), device='cpu', show_progress=False)
    assert again(scene())['predictions'][0]['bboxes'] == [BOX]


def test_progress_and_printing(capsys):
    DetInferencer(blob_config(), device='cpu')(scene(), print_result=True)
    captured = capsys.readouterr()
    assert "'bboxes': [[20.0, 10.0, 60.0, 30.0]]" in captured.out and '1/1' in captured.err


def test_output_names():
    entries = ['a/x.jpg', 'b/x.png', 'x_2.tif', 'c/X.jpg', 'http://host/p/x.webp?size=3', 'http://host/', '?x', 'x.mov']
    assert InputNames().of_call(entries, None) == ['x', 'x_2', 'x_2_2', 'X_3', 'x_4', 'host', 'image', 'x_5']
    assert [output_suffix(entry) for entry in entries] == [
        '.jpg',
        '.png',
        '.jpg',
        '.jpg',
        '.webp',
        '.jpg',
        '.jpg',
        '.mp4',
    ]


def test_names_across_calls():
    """Files start anew with each call; arrays go on counting."""
    names, array = InputNames(), scene()
    given = names.of_call([array, 'x.jpg', array, '00000001.jpg'], None)
    assert given == ['00000000', 'x', '00000001', '00000001_2']
    assert names.of_call(['x.jpg', array, array], None) == ['x', '00000002', '00000003']


def test_results_of_other_inputs_stay(tmp_path):
    """Equal names from different folders, in one call, in later ones and in another process; the same input replaces its own result."""
    paths = [tmp_path / folder / name for folder in 'ab' for name in ('x.jpg', '0001.jpg')]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), scene((20, 10, 60 + number, 30)))
    options = dict(out_dir=str(tmp_path / 'out'), no_save_pred=False)

    def results():
        files = [path for kind in ('vis', 'preds') for path in (tmp_path / 'out' / kind).iterdir()]
        return {path.relative_to(tmp_path / 'out').as_posix(): path.read_bytes() for path in files}

    DetInferencer(blob_config(), device='cpu', show_progress=False)(str(paths[0]), **options)
    first = results()
    assert set(first) == {'vis/x.jpg', 'preds/x.json'}
    (tmp_path / 'out/vis/0001.jpg').write_bytes(b'of another program')
    inferencer = DetInferencer(blob_config(), device='cpu', show_progress=False)
    inferencer(str(tmp_path / 'b'), **options)
    inferencer([scene(), str(paths[1])], **options)
    names = {'x', 'x_2', '0001_2', '00000000', '0001_3'}
    after = results()
    assert {name[6:-5] for name in after if name.startswith('preds')} == names
    assert after.items() >= first.items() and after['vis/0001.jpg'] == b'of another program'
    for inputs in (tmp_path / 'a', tmp_path / 'b', os.path.relpath(tmp_path / 'b')):
        DetInferencer(blob_config(), device='cpu', show_progress=False)(str(inputs), **options)
    assert results() == after, 'the same inputs have the same names'
    DetInferencer(blob_config(), device='cpu', show_progress=False)(scene(), **options)
    assert set(results()) - set(after) == {'vis/00000001.jpg', 'preds/00000001.json'}
    record = [json.loads(line) for line in (tmp_path / 'out/sources/names.jsonl').read_text().splitlines()]
    assert dict(name='0001_3', source=str(paths[1])) in record and len(record) == 4


@pytest.mark.parametrize('way', ['folder', 'recursive', 'link', 'file'])
def test_pictures_never_go_to_the_folder_of_the_images(inferencer, tmp_path, way):
    path = tmp_path / 'data/vis/q.jpg'
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), scene())
    (tmp_path / 'link').symlink_to(tmp_path / 'data')
    before = path.read_bytes()
    inputs = {'recursive': path.parents[1], 'file': path}.get(way, path.parent)
    out_dir = tmp_path / ('link' if way == 'link' else 'data/../data')
    with pytest.raises(ConfigError, match=r'/vis: out_dir: is an input of this call'):
        inferencer(str(inputs), out_dir=str(out_dir), recursive=True)
    assert path.read_bytes() == before and [*(tmp_path / 'data').rglob('*.*')] == [path]
    inferencer(str(path.parent), out_dir=str(tmp_path / 'data'), no_save_vis=True, no_save_pred=False)
    assert (tmp_path / 'data/preds/q.json').is_file()


def test_the_same_command_again(inferencer, tmp_path, monkeypatch):
    """Pictures below a searched folder are no inputs of the next call; another working directory is another folder."""
    for folder in ('a', 'b'):
        (tmp_path / folder / 'in').mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / 'in/x?.jpg'), scene())
    options = dict(out_dir='out', no_save_pred=False, recursive=True)
    for folder in ('b', 'a', 'a', 'b'):
        monkeypatch.chdir(tmp_path / folder)
        assert inferencer('.', **options)['inputs'] == ['in/x?.jpg']
    inferencer(str(tmp_path / 'a/in'), **options)
    assert sorted(path.name for path in (tmp_path / 'b/out/vis').iterdir()) == ['x?.jpg', 'x?_2.jpg']


def test_a_video_whose_name_is_no_text(inferencer, tmp_path):
    """It crashes OpenCV."""
    path = tmp_path / os.fsdecode(b'\xe9.mp4')
    path.write_bytes(b'')
    with pytest.raises(DataError, match='UTF-8'):
        inferencer(str(path))


def test_inputs_in_order(tmp_path):
    for name in ('b.JPG', 'a.webp', '._a.jpg', 'notes.txt', 'v.MP4', 'below/c.ppm'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    folder = str(tmp_path)

    def names(inputs, **options):
        return [entry.removeprefix(f'{folder}/') for entry in collect_inputs(inputs, **options)]

    assert names(folder) == ['a.webp', 'b.JPG'], 'no hidden files, no videos, none below'
    assert names(tmp_path, recursive=True) == ['a.webp', 'b.JPG', 'below/c.ppm']
    assert names(f'{folder}/*') == ['a.webp', 'b.JPG', 'v.MP4'] and names(f'{folder}/**/*.ppm') == ['below/c.ppm']
    assert names([f'{folder}/v.MP4', [f'{folder}/notes.txt', 'https://host/x.jpg']]) == [
        'v.MP4',
        'notes.txt',
        'https://host/x.jpg',
    ]
    array = scene()
    assert collect_inputs(array)[0] is array and is_video('x.MP4') and not is_video('x.jpg') and not is_video(array)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='no images .*search recursively'):
        collect_inputs(str(tmp_path / 'empty'))
    with pytest.raises(DataError, match='no images'):
        collect_inputs(str(tmp_path / 'empty'), recursive=True)


def test_counts_of_frames(tmp_path):
    video = write_video(tmp_path / 'v.avi', [scene()] * 3)
    (tmp_path / 'broken.mp4').write_bytes(b'x')
    assert count_sources([video, scene(), 'x.jpg', str(tmp_path / 'broken.mp4')]) == 3 + 1 + 1 + 1


@pytest.mark.parametrize('shape, fine', [((4, 4), True), ((4, 4, 1), True), ((4, 4, 4), True), ((4, 4, 2), False), ((4,), False), ((1, 4, 4, 3), False), ((0, 4, 3), False)])  # fmt: skip
def test_arrays_that_are_images(shape, fine):
    array = np.zeros(shape, np.uint8)
    if fine:
        assert collect_inputs([array])[0] is array
    else:
        with pytest.raises(ModelInputError, match='must be'):
            collect_inputs(array)


def test_prefetch_keeps_order_and_passes_errors_on():
    batches = prefetch_batches(iter(range(7)), lambda x: x * x, 3)
    assert list(batches) == [[0, 1, 4], [9, 16, 25], [36]]
    assert list(prefetch_batches(iter(()), lambda x: x, 3)) == []

    def items():
        yield 1
        raise DataError('torn', file='v.mp4')

    with pytest.raises(DataError, match='torn'):
        list(prefetch_batches(items(), lambda x: x, 1))


class Steps(DetInferencer):
    """It notes the order of the steps that may be overridden."""

    def __init__(self, *args, **kwargs):
        self.order = []
        super().__init__(*args, **kwargs)

    def _init_model(self, *args, **kwargs):
        self.order.append('model')
        return super()._init_model(*args, **kwargs)

    def _load_weights_to_model(self, model, checkpoint, cfg):
        self.order.append(f'weights {sorted(checkpoint["state_dict"])}')
        super()._load_weights_to_model(model, checkpoint, cfg)
        model.threshold.data.fill_(100.0)

    def _init_pipeline(self, cfg):
        self.order.append('pipeline')
        return super()._init_pipeline(cfg)

    def _init_visualizer(self, cfg):
        self.order.append('visualizer')
        return super()._init_visualizer(cfg)

    def preprocess(self, inputs, batch_size=1, **kwargs):
        for originals, data in super().preprocess(inputs, batch_size, **kwargs):
            self.order.append(f'preprocess {len(originals)} {len(data["inputs"])}')
            yield originals, data

    def forward(self, inputs, **kwargs):
        self.order.append('forward')
        return super().forward(inputs, **kwargs)

    def visualize(self, inputs, preds, **kwargs):
        self.order.append(f'visualize {len(inputs)} {len(preds)}')
        return super().visualize(inputs, preds, **kwargs)

    def pred2dict(self, data_sample, pred_out_dir=''):
        return {**super().pred2dict(data_sample, pred_out_dir), 'more': 1}


def test_an_inferencer_of_mmengine(inferencer, tmp_path):
    """Each step can be overridden; they run in mmengine's order, batch by batch."""
    torch.save(dict(state_dict=inferencer.model.state_dict()), tmp_path / 'x.pth')
    steps = Steps(blob_config(), str(tmp_path / 'x.pth'), 'cpu', 'mmdet', 'none', False)
    assert isinstance(steps, BaseInferencer)
    assert steps.order == ['model', "weights ['threshold']", 'pipeline', 'visualizer']
    steps.order.clear()
    result = steps([scene() // 2] * 3, batch_size=2, return_vis=True)
    assert steps.order == ['preprocess 2 2', 'forward', 'visualize 2 2', 'preprocess 1 1', 'forward', 'visualize 1 1']
    assert result['predictions'] == [{'labels': [1], 'scores': [0.75], 'bboxes': [BOX], 'more': 1}] * 3
    assert (steps.num_visualized_imgs, steps.num_predicted_imgs, len(result['visualization'])) == (3, 3, 3)
    with pytest.raises(AssertionError, match='duplicated keys'):
        type('Twice', (DetInferencer,), dict(forward_kwargs={'show'}))


def test_steps_called_alone(inferencer, folder, tmp_path):
    """They write files under the names of mmdetection, and never over those of other inputs."""
    path = str(folder / 'a.png')
    ((originals, data),) = inferencer.preprocess([path, dict(img_path=path), scene()], batch_size=4)
    assert originals[0] == path and len(data['inputs']) == 3
    predictions = inferencer.forward(data)
    assert inferencer.visualize(originals, predictions) is None
    for _ in range(2):
        pictures = inferencer.visualize(originals[:1], predictions[:1], img_out_dir=str(tmp_path / 'o'))
        found = inferencer.postprocess(predictions[:1], pred_out_dir=str(tmp_path / 'o'))
    assert pictures[0].shape == (80, 160, 3) and found['visualization'] is None
    assert found['predictions'] == [{'labels': [1], 'scores': [0.75], 'bboxes': [BOX]}]
    inferencer.visualize(originals, predictions, img_out_dir=str(tmp_path / 'o'), no_save_vis=True)
    written = [file.relative_to(tmp_path / 'o').as_posix() for file in (tmp_path / 'o').rglob('*.*')]
    assert sorted(written) == ['preds/a.json', 'sources/names.jsonl', 'vis/a.png']
    assert inferencer.postprocess(predictions, return_datasamples=True)['predictions'] == predictions
    assert list(inferencer.preprocess([])) == []


def test_arrays_of_any_strides(inferencer):
    image = np.repeat(scene()[:, ::-1], 2, axis=0)[::2, ::-1, ::-1]
    assert min(image.strides) < 0
    assert inferencer([image, image])['predictions'][1]['bboxes'] == [BOX]


def test_transforms_by_name(inferencer):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize'), dict(type='mmcv.Resize')]
    assert inferencer._get_transform_idx(steps, 'Resize') == 1
    assert inferencer._get_transform_idx(steps, ('mmcv.Resize', 'LoadImageFromFile')) == 0
    assert inferencer._get_transform_idx(steps, 'Pad') == -1


def test_models_by_name(caplog):
    assert {'gfl_r50_fpn_1x_coco', 'gfl_r50_fpn_mstrain_2x_coco'} <= set(DetInferencer.list_models('mmdet', 'gfl_r50'))
    assert DetInferencer.list_models(patterns='no such') == []
    assert config_by_name('GFL_R50_fpn_mstrain_2x_coco').endswith('configs/gfl/gfl_r50_fpn_ms-2x_coco.py')
    assert config_by_name('rtmdet-t').endswith('configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py')
    assert all(model.config.is_file() for model in known_models().values())
    with pytest.raises(ConfigError, match='no such config'):
        DetInferencer('no_such_model')


def test_a_config_as_dict():
    assert DetInferencer(blob_config().to_dict(), device='cpu', show_progress=False)(scene())['predictions'][0][
        'labels'
    ] == [1]


def test_collate_function_of_the_config():
    config = blob_config()
    config.test_dataloader.collate_fn = dict(type='default_collate')
    inferencer = DetInferencer(config, device='cpu', show_progress=False)
    assert inferencer.collate_fn([{'a': 1}, {'a': 2}])['a'].tolist() == [1, 2]
