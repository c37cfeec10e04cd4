"""SAHI's own adapter for mmdetection (``model_type='mmdet'``), as it is in its package. Without SAHI, its calls are made by a stand-in."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from mmdet.apis import DetInferencer
from mmdet.config import load_config

from ..apis.blob_detector import BlobDetector, blob_config, scene

BOXES = [[20, 10, 60, 30], [200, 110, 230, 150]]


@pytest.fixture
def files(tmp_path):
    """Config and checkpoint of the detector of bright blobs, on disk as SAHI wants them."""
    config = blob_config()
    dataset = config.test_dataloader.dataset.dataset
    dataset.pipeline[1].scale = (320, 320)
    config.test_dataloader.dataset = dataset
    config.train_dataloader = dict(dataset=dataset)
    config.dump(tmp_path / 'blob.py')
    torch.save(dict(state_dict=BlobDetector().state_dict(), meta={}), tmp_path / 'blob.pth')
    return str(tmp_path / 'blob.py'), str(tmp_path / 'blob.pth')


@pytest.fixture
def image():
    """(160, 320, 3) RGB with two white rectangles."""
    return np.maximum(scene(BOXES[0], 160, 320), scene(BOXES[1], 160, 320))


def sahi_model(files):
    pytest.importorskip('sahi', reason='SAHI is not installed (pip install sahi)')
    from sahi import AutoDetectionModel

    config, checkpoint = files
    return AutoDetectionModel.from_pretrained(
        'mmdet', checkpoint, config_path=config, device='cpu', confidence_threshold=0.3
    )


def boxes_of(result):
    return sorted([round(value, 3) for value in item.bbox.to_xyxy()] for item in result.object_prediction_list)


def test_full_image(files, image):
    model = sahi_model(files)
    from sahi.predict import get_prediction

    empty = get_prediction(np.zeros_like(image), model)
    assert empty.object_prediction_list == []
    result = get_prediction(image, model)
    assert boxes_of(result) == BOXES
    assert {(item.category.name, item.score.value) for item in result.object_prediction_list} == {('block', 0.75)}


def test_slices(files, image):
    model = sahi_model(files)
    from sahi.predict import get_sliced_prediction

    result = get_sliced_prediction(
        image, model, slice_height=100, slice_width=120, overlap_height_ratio=0.5, overlap_width_ratio=0.5
    )
    # Each object lies in one slice whole; its parts of other slices are merged. Slices are enlarged, which blurs an edge by less than a pixel.
    assert np.allclose(boxes_of(result), BOXES, atol=0.5)


def test_a_network(tmp_path):
    """The demo's GFL: full prediction equals that of the inferencer."""
    pytest.importorskip('sahi', reason='SAHI is not installed (pip install sahi)')
    from sahi import AutoDetectionModel
    from sahi.predict import get_prediction

    config = load_config('configs/demo/gfl_demo.py')
    config.dump(tmp_path / 'gfl.py')
    torch.manual_seed(0)
    inferencer = DetInferencer(config, device='cpu', show_progress=False)
    torch.save(dict(state_dict=inferencer.model.state_dict()), tmp_path / 'gfl.pth')
    files = dict(model_path=str(tmp_path / 'gfl.pth'), config_path=str(tmp_path / 'gfl.py'))
    model = AutoDetectionModel.from_pretrained('mmdet', **files, device='cpu', confidence_threshold=0.0)
    image = np.random.RandomState(0).randint(0, 256, (120, 200, 3), np.uint8)
    found = get_prediction(image, model).object_prediction_list
    expected = inferencer(image[..., ::-1])['predictions'][0]
    inside = [
        score for (x1, y1, x2, y2), score in zip(expected['bboxes'], expected['scores'])
        if min(x2, 200) > max(x1, 0) and min(y2, 120) > max(y1, 0)
    ]  # fmt: skip
    assert len(found) == len(inside) > 10
    assert np.allclose(sorted(item.score.value for item in found), sorted(inside))


class Wrapper(DetInferencer):
    """What SAHI 0.12 does with the inferencer: it overrides the call and the pipeline."""

    def __init__(self, model, weights, device, scope, palette, image_size):
        self.image_size = image_size
        super().__init__(model, weights, device, scope, palette)

    def __call__(self, images, batch_size=1):
        found = []
        for _, data in self.preprocess(images, batch_size=batch_size):
            options = dict(
                visualization=None, return_datasample=False, print_result=False, no_save_pred=True, pred_out_dir=None
            )
            found.extend(self.postprocess(self.forward(data), **options)['predictions'])
        return found

    def _init_pipeline(self, cfg):
        steps = cfg.test_dataloader.dataset.pipeline
        if 'meta_keys' in steps[-1]:
            steps[-1]['meta_keys'] = tuple(key for key in steps[-1]['meta_keys'] if key != 'img_id')
        steps[self._get_transform_idx(steps, 'LoadImageFromFile')]['type'] = 'mmdet.InferencerLoader'
        steps[self._get_transform_idx(steps, 'Resize')]['scale'] = (self.image_size, self.image_size)
        return Compose(steps)


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_the_calls_that_it_makes(files, image, batch_size):
    model = Wrapper(*files, 'cpu', 'mmdet', 'none', 320)
    assert model([]) == []
    found = model([image[:, :, ::-1], image[:80, ::-1, ::-1], np.zeros_like(image)], batch_size)
    assert found == [
        dict(labels=[1, 1], scores=[0.75] * 2, bboxes=BOXES[::-1]),
        dict(labels=[1], scores=[0.75], bboxes=[[260, 10, 300, 30]]),
        dict(labels=[], scores=[], bboxes=[]),
    ]
    assert isinstance(model.cfg, Config) and model.model.dataset_meta['classes'] == ('dot', 'block')
    assert model.cfg['train_dataloader']['dataset']['pipeline']
