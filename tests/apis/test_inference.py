import numpy as np
import pytest
import torch

from mmdet.apis import inference_detector, init_detector
from mmdet.apis.building import _voc_color, choose_device, find_config_beside
from mmdet.utils import CheckpointError, ConfigError, DataError, ModelInputError

from .blob_detector import blob_config, scene


@pytest.fixture
def model():
    return init_detector(blob_config(), device='cpu')


def test_no_object(model):
    sample = inference_detector(model, np.zeros((80, 160, 3), np.uint8))
    assert sample.pred_instances.bboxes.shape == (0, 4)


def test_array_and_list(model):
    sample = inference_detector(model, scene())
    assert sample.pred_instances.bboxes.tolist() == [[20, 10, 60, 30]]
    samples = inference_detector(model, [scene(), scene((0, 0, 40, 40))])
    assert [s.pred_instances.bboxes.tolist() for s in samples] == [[[20, 10, 60, 30]], [[0, 0, 40, 40]]]


def test_boxes_are_in_pixels_of_the_original(model):
    sample = inference_detector(model, scene((40, 20, 120, 60), 160, 320))  # the pipeline halves it
    assert sample.pred_instances.bboxes.tolist() == [[40, 20, 120, 60]]


def test_grey_and_alpha_arrays(model):
    for image in (scene()[..., 0], scene()[..., :1], np.dstack([scene(), scene()[..., :1]])):
        assert inference_detector(model, image).pred_instances.bboxes.tolist() == [[20, 10, 60, 30]]


def test_class_names(tmp_path, model):
    assert model.dataset_meta['classes'] == ('dot', 'block') and model.dataset_meta['palette'] == [
        (1, 2, 3),
        (250, 20, 10),
    ]
    state = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(CLASSES=('a', 'b'))))
    torch.save(state, tmp_path / 'x.pth')
    loaded = init_detector(blob_config(), str(tmp_path / 'x.pth'), device='cpu')
    assert loaded.dataset_meta['classes'] == ('a', 'b')
    assert init_detector(blob_config(3), device='cpu').dataset_meta['classes'] == ('class 0', 'class 1', 'class 2')


def test_weights_are_loaded(tmp_path, model):
    model.threshold.data.fill_(300.0)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    loaded = init_detector(blob_config(), str(tmp_path / 'x.pth'), device='cpu')
    assert len(inference_detector(loaded, scene()).pred_instances) == 0
    assert not loaded.training


@pytest.mark.parametrize('palette, first', [('voc', (128, 0, 0)), ([(9, 8, 7), (1, 1, 1)], (9, 8, 7))])
def test_palette(palette, first):
    assert init_detector(blob_config(), palette=palette, device='cpu').dataset_meta['palette'][0] == first


def test_voc_colours():
    assert [_voc_color(k) for k in (0, 1, 2, 3, 8)] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (64, 0, 0)]


@pytest.mark.parametrize(
    'image, error, text',
    [
        (np.zeros((80, 160, 3), np.float32), ModelInputError, 'float32'),
        (np.zeros((80, 160, 2), np.uint8), ModelInputError, r'\(80, 160, 2\)'),
        (np.zeros((0, 160, 3), np.uint8), ModelInputError, r'\(0, 160, 3\)'),
        ('nowhere.jpg', DataError, 'nowhere.jpg'),
    ],
)
def test_bad_images(model, image, error, text):
    with pytest.raises(error, match=text):
        inference_detector(model, image)


def test_bad_arguments(tmp_path):
    with pytest.raises(ConfigError, match='nowhere.py'):
        init_detector('nowhere.py')
    with pytest.raises(ConfigError, match='no model'):
        init_detector(blob_config().__class__(dict(a=1)))
    with pytest.raises(ConfigError, match='palette'):
        init_detector(blob_config(), palette='mauve', device='cpu')
    with pytest.raises(CheckpointError, match='nowhere.pth'):
        init_detector(blob_config(), str(tmp_path / 'nowhere.pth'), device='cpu')
    with pytest.raises(ConfigError, match='gpu7'):
        choose_device('gpu7')
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match='0 GPUs'):
            init_detector(blob_config(), device='cuda:0')
    config = blob_config()
    config.pop('test_dataloader')
    with pytest.raises(ConfigError, match='test pipeline'):
        inference_detector(init_detector(config, device='cpu'), scene())


def test_a_checkpoint_that_does_not_fit(tmp_path):
    torch.save(dict(state_dict=dict(other=torch.zeros(1))), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='threshold'):
        init_detector(blob_config(), str(tmp_path / 'x.pth'), device='cpu')


def test_config_beside_a_checkpoint(tmp_path):
    checkpoint = tmp_path / 'epoch_1.pth'
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        find_config_beside(checkpoint)
    checkpoint.write_bytes(b'')
    with pytest.raises(CheckpointError, match='model=<config file>'):
        find_config_beside(checkpoint)
    old, new = (tmp_path / stamp / 'vis_data' / 'config.py' for stamp in ('20260101_000000', '20260102_000000'))
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.write_text('')
    assert find_config_beside(checkpoint) == new
    (tmp_path / 'gfl.py').write_text('')
    assert find_config_beside(checkpoint) == tmp_path / 'gfl.py'
    (tmp_path / 'other.py').write_text('')
    with pytest.raises(CheckpointError, match='2 configs'):
        find_config_beside(checkpoint)
