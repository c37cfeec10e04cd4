import asyncio

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from mmdet.apis import async_inference_detector, inference_detector, init_detector
from mmdet.apis.building import (
    _palette_colors,
    _voc_color,
    _without_pretrained,
    choose_device,
    find_config_beside,
)
from mmdet.apis.inference import ImagePipeline, predict_batch, test_pipeline_config
from mmdet.config.stages import inner_test_dataset
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import InferencerLoader
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.utils import CheckpointError, ConfigError, DataError, ModelInputError

from .blob_detector import PaddedSizeDetector, blob_config, scene


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


def test_nothing_is_downloaded():
    """The checkpoint decides the weights: pretrained ones of the config are not fetched, wherever it names them."""
    pretrained = dict(type='Pretrained', checkpoint='http://host/x.pth')
    node = dict(init_cfg=pretrained, pretrained='x.pth', parts=[dict(init_cfg=pretrained), (dict(pretrained='y'), 3)])
    assert _without_pretrained(node) == dict(
        init_cfg=None, pretrained=None, parts=[dict(init_cfg=None), (dict(pretrained=None), 3)]
    )
    kept = dict(init_cfg=dict(type='Kaiming'), pretrained=True)
    assert _without_pretrained(kept) == kept and node['init_cfg'] is pretrained


def test_weights_are_loaded(tmp_path, model):
    model.threshold.data.fill_(300.0)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    loaded = init_detector(blob_config(), str(tmp_path / 'x.pth'), device='cpu')
    assert len(inference_detector(loaded, scene()).pred_instances) == 0
    assert not loaded.training


@pytest.mark.parametrize(
    'palette, expected',
    [
        ('none', [(1, 2, 3), (250, 20, 10)]),  # the dataset's own
        ('voc', [(128, 0, 0), (0, 128, 0)]),
        ([(9, 8, 7), (1, 1, 1)], [(9, 8, 7), (1, 1, 1)]),
        ('random', [(102, 179, 92), (14, 106, 71)]),  # of NumPy's RandomState(42), in each version
        ('coco', [(220, 20, 60), (119, 11, 32)]),
    ],
)
def test_palette(palette, expected):
    assert init_detector(blob_config(), palette=palette, device='cpu').dataset_meta['palette'][:2] == expected


def test_colours_of_coco():
    """The published ones of panoptic_coco_categories.json, by name."""
    colours = dict(zip(CocoDataset.METAINFO['classes'], _palette_colors('coco', 80), strict=True))
    published = {
        'person': (220, 20, 60), 'car': (0, 0, 142), 'boat': (0, 0, 192), 'stop sign': (220, 220, 0), 'dog': (0, 226, 252),
        'giraffe': (72, 0, 118), 'kite': (0, 228, 0), 'wine glass': (171, 134, 1), 'bowl': (84, 105, 51), 'pizza': (5, 121, 0),
        'chair': (153, 69, 1), 'toilet': (0, 165, 120), 'cell phone': (219, 142, 185), 'book': (142, 108, 45),
        'toothbrush': (191, 162, 208),
    }  # fmt: skip
    assert {name: colours[name] for name in published} == published
    assert len(set(colours.values())) == 80


def packed(height, width):
    return dict(inputs=torch.zeros(3, height, width, dtype=torch.uint8), data_samples=DetDataSample())


@pytest.mark.parametrize(
    'divisor, sizes_hw, expected, calls',
    [
        (32, [], [], []),
        (32, [(20, 30)], [[32, 32]], [1]),
        # Padded sizes (w, h) stay those of each image alone, in order; images of one padded size share a call.
        (32, [(20, 30), (40, 30), (32, 32), (33, 1)], [[32, 32], [32, 64], [32, 32], [32, 64]], [2, 2]),
        (32, [(64, 32), (32, 64)], [[32, 64], [64, 32]], [1, 1]),
        (1, [(20, 30), (20, 31), (20, 30)], [[30, 20], [31, 20], [30, 20]], [2, 1]),
    ],
)
def test_predictions_do_not_depend_on_batch_mates(divisor, sizes_hw, expected, calls):
    model = PaddedSizeDetector(divisor)
    samples = predict_batch(model, [packed(*size) for size in sizes_hw])
    assert [sample.pred_instances.bboxes[0, 2:].tolist() for sample in samples] == expected
    assert model.calls == calls


def test_dataset_inside_wrappers():
    inner, other = dict(type='A', pipeline=[1]), dict(type='B', pipeline=[2])
    concat = dict(type='ConcatDataset', datasets=[inner, other])
    for dataset in (
        inner,
        dict(type='RepeatDataset', dataset=inner),
        concat,
        dict(type='RepeatDataset', dataset=concat),
    ):
        config = Config(dict(test_dataloader=dict(dataset=dataset)))
        assert inner_test_dataset(config).type == 'A' and test_pipeline_config(config) == [1]
    # A wrapper with a pipeline of its own is asked first; without a dataset the config's test_pipeline counts.
    mixed = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[3], dataset=inner)), test_pipeline=[4]))
    assert test_pipeline_config(mixed) == [3] and inner_test_dataset(mixed).type == 'A'
    assert test_pipeline_config(Config(dict(test_pipeline=[4]))) == [4] and inner_test_dataset(Config()) == {}


def test_pipelines_take_files_arrays_and_composed_steps(tmp_path):
    with pytest.raises(ConfigError, match='must start with LoadImageFromFile'):
        ImagePipeline([dict(type='LoadAnnotations'), dict(type='Resize', scale=(8, 8))])
    with pytest.raises(ConfigError, match='must start with LoadImageFromFile'):
        ImagePipeline([])
    steps = [dict(type='LoadImageFromNDArray', to_float32=True), dict(type='PackDetInputs', meta_keys=('img_id',))]
    image = scene()[:4, :6]
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    for source in (tmp_path / 'a.png', str(tmp_path / 'a.png'), image):
        sample, loaded = ImagePipeline(steps)(source, img_id=7)
        assert sample['data_samples'].img_id == 7 and sample['inputs'].shape == (3, 4, 6)
        assert sample['inputs'].dtype == torch.float32 and np.array_equal(loaded, image)
    seen = []
    composed = ImagePipeline(lambda results: seen.append(results) or results)
    assert composed(image, 3)[1] is image and composed(str(tmp_path / 'a.png'))[1].shape == (4, 6, 3)
    assert seen[0]['img'] is image and seen[0]['img_id'] == 3 and seen[1]['img_path'] == str(tmp_path / 'a.png')


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


def test_types_of_configs():
    """Those of mmdetection's callers who catch a TypeError."""
    for config in (dict(model=dict()), 3, None):
        with pytest.raises(TypeError, match='must be a path or a Config'):
            init_detector(config)


def test_coco_names_for_80_classes():
    config = blob_config(80)
    config.pop('test_dataloader')
    classes = init_detector(config, device='cpu').dataset_meta['classes']
    assert (len(classes), classes[0], classes[-1]) == (80, 'person', 'toothbrush')


def test_from_a_coroutine(model):
    samples = asyncio.run(async_inference_detector(model, [scene()]))
    assert samples[0].pred_instances.bboxes.tolist() == [[20, 10, 60, 30]]


def test_own_pipelines(model):
    """Transform configs, or a composed pipeline that takes sample dicts, as callers of mmdetection give them."""
    steps = test_pipeline_config(model.cfg)
    array = [dict(steps[0], type='mmdet.LoadImageFromNDArray'), *steps[1:]]
    for pipeline in (steps, Compose([TRANSFORMS.build(step) for step in array])):
        assert inference_detector(model, scene(), test_pipeline=pipeline).pred_instances.bboxes.tolist() == [
            [20, 10, 60, 30]
        ]
    with pytest.raises(ConfigError, match='text_prompt'):
        inference_detector(model, scene(), text_prompt='a dot')


def test_loading_what_a_user_gives(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), scene())
    loader = InferencerLoader(color_type='grayscale')
    for given in (
        str(tmp_path / 'a.png'),
        tmp_path / 'a.png',
        dict(img_path=str(tmp_path / 'a.png')),
        scene(),
        dict(img=scene()),
    ):
        assert loader(given)['img'].tolist() == scene()[..., 0].tolist()
    with pytest.raises(ConfigError, match='int'):
        loader(3)
