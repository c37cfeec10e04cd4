"""Whole detectors against the reference: names, outputs, losses, gradients and detections.

Numbers of mmdetection 3.3.0 on the case of :mod:`tests.detector_case`, float32 on a CPU.
"""

import functools

import pytest
import torch

from tests.detector_case import (
    fill,
    filled_detector,
    gradient_norm,
    images,
    samples,
    train_with_fixed_norms,
)  # fmt: skip
from tests.reference_fill import statistics
from tests.reference_keys import reference_keys

ATSS, RETINANET = 'atss/atss_r50_fpn_1x_coco.py', 'retinanet/retinanet_r50_fpn_1x_coco.py'
LD = 'ld/ld_r18-gflv1-r101_fpn_1x_coco.py'
LISTINGS = {ATSS: 'atss_r50', LD: 'ld_r18', RETINANET: 'retinanet_r50'}
# Parameters, those that train.
COUNTS = {ATSS: (32_295_322, 32_069_978), LD: (19_420_889, 19_263_385), RETINANET: (37_968_692, 37_743_348)}
# Kind and level of an output: mean, std, min, max, first, last.
OUTPUTS = {
    ATSS: {
        (0, 0): (-0.009323, 0.662047, -2.648088, 2.301274, -0.339846, 0.104547),
        (0, 4): (-0.025242, 0.518824, -1.417641, 1.727868, -1.186785, -0.186568),
        (1, 0): (-0.232261, 0.576550, -1.962590, 1.428650, -0.260634, -0.417392),
        (1, 3): (-0.396644, 0.660692, -2.174692, 1.126784, -0.900179, -0.864349),
        (2, 0): (0.438060, 0.407035, -1.116938, 1.502650, -0.360579, -0.141223),
        (2, 2): (0.161480, 0.412086, -0.861531, 0.971879, -0.454134, 0.080285),
    },
    LD: {
        (0, 0): (0.068946, 0.661861, -2.574592, 2.285633, -0.065508, -0.000230),
        (0, 4): (0.033364, 0.482014, -1.444027, 1.653905, 0.476024, 0.406530),
        (1, 1): (-0.106366, 0.775302, -2.911529, 3.013477, 0.085517, -0.629743),
    },
    RETINANET: {
        (0, 0): (0.093572, 0.797569, -3.453333, 3.378870, 0.152883, -0.064101),
        (0, 4): (0.004579, 0.108531, -0.432869, 0.440541, 0.001061, 0.061859),
        (1, 0): (-0.097194, 0.813607, -2.827347, 1.993131, -0.084192, 0.132845),
        (1, 4): (0.004630, 0.110972, -0.317243, 0.271619, -0.015639, 0.104752),
    },
}
# Boxes of the two images: losses by level (0 where left out), and the norm of their gradient.
LOSSES = {
    (ATSS, (6, 6)): (
        dict(
            loss_cls=[365.6592, 98.805992, 23.135588, 5.288293, 1.546167],
            loss_bbox=[0.888538, 0.407533],
            loss_centerness=[0.385841, 0.259413],
        ),
        5119.0,
    ),
    (ATSS, (6, 0)): (
        dict(
            loss_cls=[820.8293, 221.9276, 51.926540, 11.869280, 3.470285],
            loss_bbox=[0.868905, 0.339007],
            loss_centerness=[0.391485, 0.234611],
        ),
        None,
    ),
    (ATSS, (0, 0)): (
        dict(loss_cls=[18469.51, 4993.7256, 1168.3472, 267.0588, 78.081413], loss_bbox=[], loss_centerness=[]),
        None,
    ),
    (LD, (6, 6)): (
        dict(
            loss_cls=[544.4120, 125.7893, 32.896923, 8.326424, 2.173748],
            loss_bbox=[0.941110, 0.689422],
            loss_dfl=[0.486091, 0.323054],
            loss_ld=[0.367308, 0.272194],
        ),
        5950.8,
    ),
    (LD, (6, 0)): (
        dict(
            loss_cls=[1222.0614, 282.4046, 73.835312, 18.688194, 4.878858],
            loss_bbox=[1.012111, 0.631895],
            loss_dfl=[0.502875, 0.296560],
            loss_ld=[0.154829, 0.106648],
        ),
        None,
    ),
    (LD, (0, 0)): (
        dict(loss_cls=[27498.60, 6354.8525, 1661.2946, 420.4844, 109.7743], loss_bbox=[], loss_dfl=[], loss_ld=[]),
        None,
    ),
    (RETINANET, (6, 6)): (
        dict(loss_cls=[1868.2334, 403.3328, 71.496765, 17.992325, 5.008890], loss_bbox=[0.516601, 1.631179, 0.261733]),
        31474.0,
    ),
    (RETINANET, (6, 0)): (
        dict(loss_cls=[3857.4570, 850.0912, 149.6339, 37.119301, 10.333655], loss_bbox=[0.206771, 1.608328, 0.436488]),
        None,
    ),
    (RETINANET, (0, 0)): (
        dict(loss_cls=[214653.41, 48507.38, 8707.6533, 2060.1211, 573.5179], loss_bbox=[]),
        None,
    ),
}
# By image: number of detections, sum of the scores, last score, class, score and box of the first.
DETECTIONS = {
    ATSS: [
        (100, 62.07442, 0.595282, 44, 0.689783, [185.778, 11.408, 250.266, 81.286]),
        (100, 63.02186, 0.610611, 44, 0.718885, [32.977, 0.000, 175.172, 110.533]),
    ],
    LD: [
        (100, 86.90946, 0.849362, 70, 0.941968, [0.000, 0.000, 320.000, 256.000]),
        (100, 87.36250, 0.854520, 70, 0.944799, [5.331, 0.000, 276.000, 236.000]),
    ],
    RETINANET: [
        (100, 95.63075, 0.951824, 29, 0.966268, [245.115, 198.775, 248.763, 210.940]),
        (100, 95.51893, 0.950661, 63, 0.967038, [0.000, 29.126, 55.411, 133.553]),
    ],
}


@functools.cache
def detector(path):
    """The filled detector, its teacher filled as well, and the raw outputs of its head, made once."""
    model = filled_detector(path, **(dict(teacher_ckpt=None) if '/ld/' in str(path) else {}))
    if hasattr(model, 'teacher_model'):
        fill(model.teacher_model)
    with torch.no_grad():
        return model, model(images())


@pytest.mark.parametrize('name', LISTINGS)
def test_names_shapes_and_counts(repository, name):
    model, _ = detector(repository / 'configs' / name)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_keys(LISTINGS[name])
    parameters = list(model.train().parameters())
    model.eval()
    assert (sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)) == COUNTS[name]


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs(repository, name):
    _, outputs = detector(repository / 'configs' / name)
    for (kind, level), expected in OUTPUTS[name].items():
        measured, deviation = statistics(outputs[kind][level]), expected[1]
        torch.testing.assert_close(measured, expected, rtol=0, atol=1e-4 * deviation + 1e-6)


@pytest.mark.parametrize(('name', 'counts'), LOSSES)
def test_losses(repository, name, counts):
    model, _ = detector(repository / 'configs' / name)
    expected, norm = LOSSES[name, counts]
    with torch.set_grad_enabled(norm is not None):
        losses = train_with_fixed_norms(model)(images(), samples(counts=counts), mode='loss')
    assert set(losses) == set(expected)
    for key, levels in expected.items():
        padded = torch.tensor(levels + [0.0] * (len(losses[key]) - len(levels)))
        torch.testing.assert_close(torch.stack(losses[key]).detach(), padded, rtol=1e-4, atol=2e-6)
    if norm is not None:
        assert gradient_norm(model, losses) == pytest.approx(norm, rel=1e-4)
    model.eval()


@pytest.mark.parametrize('name', DETECTIONS)
def test_detections(repository, name):
    model, outputs = detector(repository / 'configs' / name)
    metas = [sample.metainfo for sample in samples()]
    found = model.bbox_head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=True)
    for one, (count, total, last, label, score, box) in zip(found, DETECTIONS[name], strict=True):
        assert len(one) == count and one.labels[0] == label
        measured = torch.stack([one.scores.sum(), one.scores[-1], one.scores[0]])
        torch.testing.assert_close(measured, torch.tensor([total, last, score]), rtol=1e-5, atol=0)
        torch.testing.assert_close(one.bboxes[0], torch.tensor(box), rtol=1e-5, atol=1e-3)
