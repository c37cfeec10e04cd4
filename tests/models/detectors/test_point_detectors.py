"""FCOS, VFNet and TOOD against the reference: names, outputs, losses, gradients and detections.

Numbers of mmdetection 3.3.0 on the case of :mod:`tests.detector_case`, float32 on a CPU. In the case "near" a bias is raised so that boxes
come near the ground truth.
"""

import functools

import pytest
import torch
from mmengine.logging import MessageHub

from tests.detector_case import filled_detector, gradient_norm, images, samples, train_with_fixed_norms
from tests.reference_fill import statistics
from tests.reference_keys import reference_keys

FCOS = 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
CENTER = 'fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py'
TOOD, VFNET = 'tood/tood_r50_fpn_1x_coco.py', 'vfnet/vfnet_r50_fpn_1x_coco.py'
ANCHOR_BASED = 'tood/tood_r50_fpn_anchor-based_1x_coco.py'
LISTINGS = {
    FCOS: 'fcos_r50-caffe_gn-head',
    CENTER: 'fcos_r50-caffe_gn-head-center-normbbox-centeronreg-giou',
    TOOD: 'tood_r50',
    VFNET: 'vfnet_r50',
}
# Parameters, those that train.
COUNTS = {
    FCOS: (32_295_322, 32_019_802),
    CENTER: (32_297_370, 32_021_850),
    TOOD: (32_200_494, 31_975_150),
    VFNET: (32_891_554, 32_666_210),
}
# Kind and level of an output: mean, std, min, max, first, last.
OUTPUTS = {
    FCOS: {
        (0, 0): (0.027402, 0.667151, -2.389431, 2.510592, -0.365460, -0.017511),
        (0, 4): (0.022638, 0.506156, -1.528712, 1.780157, -0.953278, -0.259811),
        (1, 0): (0.969624, 0.684098, 0.148566, 5.371759, 1.025627, 1.182321),
        (1, 3): (1.279524, 0.761231, 0.131436, 3.872859, 0.676608, 1.112448),
        (2, 0): (0.212906, 0.346209, -0.909300, 1.323904, -0.204368, -0.022913),
    },
    CENTER: {
        (0, 0): (-0.094672, 0.778747, -3.028465, 2.763243, -0.248217, -0.357605),
        (1, 0): (2.511192, 3.186638, 0.000000, 15.280408, 0.000000, 2.129864),
        (1, 4): (19.839368, 34.773632, 0.000000, 136.7778, 0.000000, 9.543075),
        (2, 1): (0.749244, 0.375437, -0.301340, 1.861523, 0.175615, 0.503122),
    },
    TOOD: {
        (0, 0): (0.495847, 0.083300, 0.134294, 0.765860, 0.510139, 0.462037),
        (0, 4): (0.505206, 0.069325, 0.285725, 0.671672, 0.489475, 0.396465),
        (1, 0): (17.063122, 11.040440, -3.638192, 40.524647, -0.461038, 32.036999),
        (1, 3): (1.231845, 2.152668, -3.973080, 4.781417, -0.173857, 4.243041),
    },
    VFNET: {
        (0, 0): (0.037620, 0.415785, -1.466684, 1.705581, 0.109866, 0.027717),
        (0, 4): (-0.008164, 0.137389, -0.373002, 0.407630, 0.124108, -0.069256),
        (1, 0): (105.4133, 92.362129, 3.705938, 1012.2546, 125.7888, 74.680695),
        (1, 4): (1284.0851, 647.0031, 470.8988, 3595.0349, 1702.3441, 1920.5536),
    },
}
NEAR = {FCOS: ('conv_reg', 3.3), CENTER: ('conv_reg', 2.5), TOOD: ('tood_reg', 1.3)}
# Config, whether near, boxes of the two images, epoch: losses.
LOSSES = [
    (FCOS, False, (6, 6), 0, dict(loss_cls=190.6259, loss_bbox=7.378828, loss_centerness=0.724183)),
    (FCOS, True, (6, 6), 0, dict(loss_cls=190.6259, loss_bbox=1.474249, loss_centerness=0.724183)),
    (FCOS, True, (6, 0), 0, dict(loss_cls=349.4262, loss_bbox=1.513735, loss_centerness=0.715749)),
    (FCOS, True, (0, 0), 0, dict(loss_cls=54173.42, loss_bbox=0, loss_centerness=0)),
    (CENTER, False, (6, 6), 0, dict(loss_cls=585.6477, loss_bbox=0.989748, loss_centerness=0.710762)),
    (CENTER, True, (6, 6), 0, dict(loss_cls=585.6477, loss_bbox=0.723719, loss_centerness=0.710762)),
    (CENTER, True, (6, 0), 0, dict(loss_cls=1158.2820, loss_bbox=0.686506, loss_centerness=0.681239)),
    (CENTER, True, (0, 0), 0, dict(loss_cls=52132.37, loss_bbox=0, loss_centerness=0)),
    (VFNET, False, (6, 6), 0, dict(loss_cls=429.4964, loss_bbox=1.409632, loss_bbox_rf=1.931420)),
    (VFNET, False, (6, 0), 0, dict(loss_cls=986.0324, loss_bbox=1.389124, loss_bbox_rf=1.837512)),
    (VFNET, False, (0, 0), 0, dict(loss_cls=43388.20, loss_bbox=0, loss_bbox_rf=0)),
    (TOOD, False, (6, 6), 0, dict(
        loss_cls=[275.8909, 68.437637, 14.866825, 5.040394, 1.391629], loss_bbox=[1.090598, 0.647184, 0, 0, 0]
    )),
    (TOOD, True, (6, 6), 3, dict(
        loss_cls=[275.8909, 68.437637, 14.866825, 5.040394, 1.391629], loss_bbox=[1.130944, 0.585744, 0, 0, 0]
    )),
    (TOOD, False, (6, 6), 4, dict(
        loss_cls=[2391.1904, 593.0178, 128.7241, 43.674759, 12.058948],
        loss_bbox=[0.201438, 0.566320, 0.411839, 0.006517, 0],
    )),
    (TOOD, True, (6, 6), 4, dict(
        loss_cls=[1447.4083, 359.0888, 77.994987, 26.443142, 7.300827], loss_bbox=[0.804411, 0.238029, 0, 0, 0]
    )),
    (TOOD, True, (6, 0), 4, dict(
        loss_cls=[2881.9448, 714.9392, 155.2737, 52.643444, 14.534607], loss_bbox=[0.625984, 0.345187, 0, 0, 0]
    )),
    (TOOD, True, (0, 0), 4, dict(
        loss_cls=[37162.65, 9219.9990, 2002.0658, 678.7732, 187.4061], loss_bbox=[0, 0, 0, 0, 0]
    )),
    (ANCHOR_BASED, False, (6, 6), 4, dict(
        loss_cls=[1020.5594, 253.2493, 55.003216, 18.648094, 5.148651], loss_bbox=[0.937996, 0.139402, 0, 0, 0]
    )),
]  # fmt: skip
# With ResNet-18, at 96 x 160, "near" where that is defined: epoch, sum of the losses, L2 norm of their gradient.
GRADIENTS = [
    (FCOS, 0, 51.430763, 380.25762),
    (CENTER, 0, 165.30426, 1117.46),
    (VFNET, 0, 125.94988, 367.01832),
    (TOOD, 0, 116.69189, 1333.9955),
    (TOOD, 4, 761.19995, 8807.9219),
    (ANCHOR_BASED, 4, 671.37170, 7769.8402),
]
# By image: number of detections, sum of the scores, last score, class, score and box of the first.
DETECTIONS = {
    FCOS: [
        (100, 59.23230, 0.570596, 66, 0.676516, [195.622, 59.516, 196.635, 61.543]),
        (100, 61.00332, 0.583663, 55, 0.687370, [115.625, 51.560, 116.509, 54.420]),
    ],
    CENTER: [
        (100, 70.43503, 0.686614, 6, 0.758409, [100.000, 173.337, 104.220, 181.556]),
        (100, 70.72895, 0.692337, 48, 0.778622, [156.000, 168.330, 160.473, 180.000]),
    ],
    TOOD: [
        (100, 72.57813, 0.712695, 13, 0.765860, [12.387, 49.184, 33.873, 94.319]),
        (100, 73.38756, 0.720576, 10, 0.803440, [-43.226, -137.180, 211.899, 241.916]),
    ],
    VFNET: [
        (100, 78.87450, 0.772002, 10, 0.846262, [20.281, 114.381, 221.652, 251.268]),
        (100, 79.22038, 0.773139, 10, 0.838200, [46.126, 79.087, 276.000, 213.916]),
    ],
}


@functools.cache
def detector(path):
    """The filled detector, its feature maps, and the raw outputs of its head."""
    model = filled_detector(path)
    with torch.no_grad():
        features = model.extract_feat(images())
        return model, features, model.bbox_head(features)


@pytest.mark.parametrize('name', LISTINGS)
def test_names_shapes_and_counts(repository, name):
    model, _, _ = detector(repository / 'configs' / name)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_keys(LISTINGS[name])
    parameters = list(model.parameters())
    assert (sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)) == COUNTS[name]


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs(repository, name):
    _, _, outputs = detector(repository / 'configs' / name)
    for (kind, level), expected in OUTPUTS[name].items():
        measured, deviation = statistics(outputs[kind][level]), expected[1]
        torch.testing.assert_close(measured, expected, rtol=1e-6, atol=1e-4 * deviation + 1e-6)


@pytest.mark.parametrize(('name', 'near', 'counts', 'epoch', 'expected'), LOSSES)
def test_losses(repository, monkeypatch, name, near, counts, epoch, expected):
    model, features, _ = detector(repository / 'configs' / name)
    monkeypatch.setitem(MessageHub.get_current_instance().runtime_info, 'epoch', epoch)
    head, (layer, shift) = model.bbox_head.train(), NEAR[name] if near else ('scales', 0)
    try:
        with torch.no_grad():
            if near:
                getattr(head, layer).bias += shift
            losses = head.loss(features, samples(counts=counts))
    finally:
        with torch.no_grad():
            if near:
                getattr(head, layer).bias -= shift
        head.eval()
    assert set(losses) == set(expected)
    for key, value in expected.items():
        measured = torch.stack(losses[key]) if isinstance(value, list) else losses[key]
        torch.testing.assert_close(measured, torch.tensor(value, dtype=torch.float32), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(('name', 'epoch', 'total', 'norm'), GRADIENTS)
def test_gradients(repository, monkeypatch, name, epoch, total, norm):
    model = filled_detector(
        repository / 'configs' / name, backbone__depth=18, neck__in_channels=[64, 128, 256, 512]
    )  # fmt: skip
    if name in NEAR:
        layer, shift = NEAR[name]
        getattr(model.bbox_head, layer).bias.data += shift
    monkeypatch.setitem(MessageHub.get_current_instance().runtime_info, 'epoch', epoch)
    losses = train_with_fixed_norms(model).loss(images((96, 160)), samples((96, 160)))
    parts = [part for value in losses.values() for part in (value if isinstance(value, list) else [value])]
    assert sum(parts).item() == pytest.approx(total, rel=1e-4)
    assert gradient_norm(model, losses) == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize('name', DETECTIONS)
def test_detections(repository, name):
    model, _, outputs = detector(repository / 'configs' / name)
    metas = [sample.metainfo for sample in samples()]
    found = model.bbox_head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=True)
    for one, (count, total, last, label, score, box) in zip(found, DETECTIONS[name], strict=True):
        assert len(one) == count and one.labels[0] == label
        measured = torch.stack([one.scores.sum(), one.scores[-1], one.scores[0]])
        torch.testing.assert_close(measured, torch.tensor([total, last, score]), rtol=1e-5, atol=0)
        torch.testing.assert_close(one.bboxes[0], torch.tensor(box), rtol=1e-5, atol=1e-3)
