import json

import cv2
import numpy as np
import pytest
import torch

from mmdet.apis import DetInferencer
from mmdet.apis.sources import OutputNames, collect_inputs, prefetch_batches
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
    assert found['visualization'][0].shape == (80, 160, 3)


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
    assert isinstance(result['predictions'][0], DetDataSample)


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


def test_broken_video_leaves_nothing(inferencer, tmp_path):
    (tmp_path / 'v.mp4').write_bytes(b'no video')
    with pytest.raises(DataError, match='v.mp4'):
        inferencer(str(tmp_path / 'v.mp4'), out_dir=str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


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
    with pytest.raises(CheckpointError, match='model=<config file>'):
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
    names = OutputNames()
    entries = ['a/x.jpg', 'b/x.png', 'x_2.tif', 'c/X.jpg', 'http://host/p/x.webp?size=3']
    expected = [('x', '.jpg'), ('x_2', '.png'), ('x_2_2', '.jpg'), ('X_3', '.jpg'), ('x_4', '.webp')]
    assert [names.of(entry) for entry in entries] == expected


def test_hidden_files_are_no_inputs(tmp_path):
    (tmp_path / '._a.jpg').write_bytes(b'')
    with pytest.raises(DataError):
        collect_inputs(str(tmp_path))


def test_prefetch_keeps_order_and_passes_errors_on():
    batches = prefetch_batches(iter(range(7)), lambda x: x * x, 3)
    assert list(batches) == [[0, 1, 4], [9, 16, 25], [36]]
    assert list(prefetch_batches(iter(()), lambda x: x, 3)) == []

    def items():
        yield 1
        raise DataError('torn', file='v.mp4')

    with pytest.raises(DataError, match='torn'):
        list(prefetch_batches(items(), lambda x: x, 1))
