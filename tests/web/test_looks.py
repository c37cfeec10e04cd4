"""Ways to look at an image, by the toolbox and by the runtime."""

import numpy as np
import pytest
import torch

from mmdet.apis import inference_detector
from mmdet.config.stages import composite_config, test_pipeline_config
from mmdet.errors import ConfigError
from mmdet.utils import load_config
from mmdet.web.looks import ExportedModel, ToolboxModel, load_model
from tests.runtime.tiny import picture, write_folder

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture(scope='module')
def single(repository):
    torch.manual_seed(0)
    config = load_config(
        repository / 'configs/demo/gfl_demo.py', {'model.backbone.init_cfg': None, 'model.test_cfg.score_thr': 0.005}
    )
    test_pipeline_config(config)[1].scale = (160, 96)
    return ToolboxModel(config, None, device='cpu', tile_wh=(64, 64))


def test_one_network_for_all_looks(single, image):
    assert single.looks == ('whole', 'tiled', 'packed') and len(single.classes) == len(single.colors) == 6
    detectors = [single._detectors['tiled'].stage.detector, single._detectors['packed'].coarse.detector]
    assert all(detector is single._model for detector in detectors)
    whole = single.look('whole', image)
    wanted = inference_detector(single._model, image).pred_instances
    np.testing.assert_array_equal(whole.found.boxes, wanted.bboxes.numpy())
    assert set(whole.seconds) == {'resizing', 'network', 'total'} and len(whole.found.scores) > 0


def test_tiles_and_packs(single, image):
    tiled, packed = single.look('tiled', image), single.look('packed', image)
    assert set(tiled.seconds) == {'tiles', 'whole', 'merge', 'total'} and tiled.regions is None
    assert set(packed.seconds) == {'coarse', 'packing', 'mosaic', 'fine', 'merge', 'total'}
    x, y, w, h, left, top, zoom = packed.regions.T
    height, width = packed.mosaic.shape[:2]
    assert len(x) and (x + w <= 128).all() and (y + h <= 96).all() and packed.mosaic.dtype == np.uint8
    assert (
        np.ceil((left + w * zoom).max()) == width
        and np.ceil((top + h * zoom).max()) == height
        and len(packed.fine.boxes)
    )
    again = single.look('packed', image).seconds
    assert sum(again.values()) - again['total'] <= again['total']  # times are those of one call
    with pytest.raises(ConfigError, match=r"only by \('whole', 'tiled', 'packed'\)"):
        single.look('upside down', image)


def test_a_composite_detector(single, image):
    """It looks in its own way, and with its coarse stage."""
    composite = composite_config(single._model.cfg)
    model = ToolboxModel(composite, None, device='cpu')
    assert model.looks == ('whole', 'packed')
    assert len(model.look('whole', image).found.boxes) == len(model.look('packed', image).coarse.boxes)
    model._model._fine_labels = (-1,) * 6  # of a coarse stage that knows none of the classes
    assert model._whole_looks() == ()


@pytest.mark.parametrize('outputs', ['boxes', 'candidates'])
def test_an_exported_folder(tmp_path, outputs):
    pytest.importorskip('onnxruntime', reason='it computes the network')
    model = load_model(str(write_folder(tmp_path, outputs=outputs)), device='cpu', tile_wh=(32, 32), overlap=0.0)
    assert (
        isinstance(model, ExportedModel)
        and model.looks == ('whole', 'tiled', 'packed')
        and model.classes == ('whole', 'quarter')
    )
    red = picture(204, 64, 64)
    found = model.look('whole', red).found
    assert found.boxes[0].tolist() == [0, 0, 64, 64] and round(float(found.scores[0]), 4) == 0.8
    tiled = {tuple(box) for box in model.look('tiled', red).found.boxes.tolist()}
    assert {(0, 0, 64, 64), (0, 0, 32, 32), (32, 32, 64, 64)} <= tiled
    packed = model.look('packed', red)
    assert (
        packed.regions.shape[1] == 7
        and packed.mosaic.dtype == np.uint8
        and len(packed.coarse.boxes) == len(packed.regions)
    )
    assert packed.seconds['packing'] < packed.seconds['total']
