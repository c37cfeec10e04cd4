"""RTMDet-tiny as a whole: names, outputs, losses and predictions of mmdetection 3.3 with weights, images and boxes by formula.

The numbers come from its own code at 256 x 320 pixels, batch 2, six boxes an image. "near" raises the box biases by 3.
"""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.registry import MODELS
from mmdet.utils import load_config
from tests import detector_case as case
from tests.reference_fill import statistics
from tests.reference_keys import reference_keys

CONFIG = 'configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py'


@pytest.fixture(scope='module')
def model(repository):
    return case.filled_detector(repository / CONFIG)


@pytest.fixture(scope='module')
def features(model):
    with torch.no_grad():
        return model.extract_feat(case.images())


@pytest.fixture
def head(model, request):
    """The head, its box biases raised by the parameter while the test runs."""
    shift = getattr(request, 'param', 0.0)
    for conv in model.bbox_head.rtm_reg:
        conv.bias.data += shift
    yield model.bbox_head
    for conv in model.bbox_head.rtm_reg:
        conv.bias.data -= shift


def test_names_and_shapes(model):
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_keys('rtmdet_tiny')
    assert sum(p.numel() for p in model.parameters()) == 4_896_168


def test_outputs(model, features, head):
    with torch.no_grad():
        last = model.backbone(case.images())[-1]
        cls, reg = head(features)
    rows = [last, features[0], features[2], *cls, *reg]
    expected = [
        (0.004473, 0.045002, -0.098809, 0.143988, -0.062194, 0.027882),
        (-0.000510, 0.047695, -0.091901, 0.132027, -0.068154, -0.022165),
        (0.003793, 0.046092, -0.102842, 0.154918, -0.036113, -0.013617),
        (0.004036, 0.075484, -0.208598, 0.198195, -0.118208, -0.110388),
        (-0.003234, 0.083502, -0.234491, 0.183692, 0.039865, 0.000641),
        (0.005559, 0.067371, -0.158636, 0.177372, -0.100513, 0.057788),
        (0.114394, 0.235451, -0.282502, 0.500222, -0.142669, 0.354297),
        (-0.263255, 1.580815, -2.872034, 1.986729, 1.918652, 0.704844),
        (1.048406, 3.358734, -2.366190, 7.648841, -1.512164, -0.238881),
    ]
    for row, numbers in zip(rows, expected):
        torch.testing.assert_close(
            torch.tensor(statistics(row)), torch.tensor(numbers), rtol=1e-4, atol=1e-4 * numbers[1]
        )


@pytest.mark.parametrize(
    ('head', 'counts', 'loss_cls', 'loss_bbox'),
    [
        (3.0, (0, 0), [34172.91, 8448.8545, 2138.5352], [0, 0, 0]),
        (3.0, (6, 0), [2299.9561, 568.4069, 143.9113], [0.147423, 0.825322, 0.067265]),
        (3.0, (6, 6), [1250.5231, 308.9654, 78.249710], [0.255201, 0.826249, 0.036575]),
        (0.0, (6, 6), [34172.91, 8448.8545, 2138.5352], [0, 0, 0]),
    ],
    indirect=['head'],
)
def test_losses(features, head, counts, loss_cls, loss_bbox):
    losses = head.loss(features, case.samples(counts=counts))
    torch.testing.assert_close(torch.stack(losses['loss_cls']).detach(), torch.tensor(loss_cls), rtol=1e-4, atol=0)
    torch.testing.assert_close(
        torch.stack(losses['loss_bbox']).detach(), torch.tensor(loss_bbox).float(), rtol=1e-4, atol=1e-6
    )


def test_gradient_norm(model, head):
    losses = case.train_with_fixed_norms(model)(case.images(), case.samples(), mode='loss')
    assert case.gradient_norm(model, losses) == pytest.approx(9948.6, rel=1e-4)
    model.eval()


@pytest.mark.parametrize(
    ('head', 'counts', 'sums', 'last'),
    [
        (0.0, [300, 22], [159.99571, 11.49947], [0.527439, 0.511921]),
        (3.0, [300, 300], [163.74966, 163.74205], [0.545539, 0.545539]),
    ],
    indirect=['head'],
)
def test_predictions(features, head, counts, sums, last):
    with torch.no_grad():
        found = head.predict(features, case.samples())
    assert [len(image) for image in found] == counts
    assert [image.scores.sum().item() for image in found] == pytest.approx(sums, rel=1e-4)
    assert [image.scores[-1].item() for image in found] == pytest.approx(last, rel=1e-4)
    for image, (height, width) in zip(found, [(256, 320), (236, 276)]):
        assert image.bboxes.min() >= 0 and image.bboxes[:, 2].max() <= width and image.bboxes[:, 3].max() <= height


@pytest.mark.parametrize('name', ['s_8xb32', 'm_8xb32', 'x_p6_4xb8'])
def test_a_training_step_and_a_prediction(repository, name):
    """The forms of the configs, shallow and narrow: with and without exponentials, three and four levels."""
    cfg = load_config(repository / f'configs/rtmdet/rtmdet_{name}-300e_coco.py').model
    cfg.backbone.update(init_cfg=None, deepen_factor=0.1, widen_factor=0.125)
    widths = [32, 64, 96, 128] if 'p6' in name else [32, 64, 128]
    cfg.neck.update(in_channels=widths, out_channels=16, num_csp_blocks=1)
    cfg.bbox_head.update(in_channels=16, feat_channels=16, num_classes=80)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    samples = case.samples((128, 192), (3, 0))
    batch = dict(
        inputs=[torch.randint(0, 256, (3, 128, 192), dtype=torch.uint8) for _ in samples], data_samples=samples
    )
    losses, parts = model.train().parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    assert losses > 0 and torch.isfinite(losses) and set(parts) == {'loss', 'loss_cls', 'loss_bbox'}
    losses.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        found = model.eval().test_step(batch)[0].pred_instances
    assert torch.isfinite(found.bboxes).all() and len(found) <= 300 and bool(len(found)) == (name != 's_8xb32')


def test_sync_bn_only_with_several_processes(model, repository, monkeypatch):
    cfg = load_config(repository / CONFIG).model
    for part in ('backbone', 'neck', 'bbox_head'):
        cfg[part].norm_cfg = dict(type='BN')
    cfg.backbone.init_cfg = None

    def kinds(**options):
        with torch.device('meta'):
            return {type(m) for m in MODELS.build(dict(cfg, **options)).modules() if isinstance(m, _BatchNorm)}

    assert kinds() == {torch.nn.BatchNorm2d}
    monkeypatch.setattr('mmdet.models.detectors.rtmdet.get_world_size', lambda: 2)
    assert kinds() == {torch.nn.SyncBatchNorm} and kinds(use_syncbn=False) == {torch.nn.BatchNorm2d}
