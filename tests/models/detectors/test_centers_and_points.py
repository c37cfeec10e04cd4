"""PAA, FoveaBox, RepPoints and CenterNet against the reference: names, losses, gradients and detections; and their targets by hand.

Numbers of mmdetection 3.3.0 on the case of :mod:`tests.detector_case`, with a ResNet-18, at 96 x 160, float32 on a CPU. (The detections of
CenterNet subtract a ``border``, here of 0, which the reference demands.)
"""

import functools

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core import PointAssigner
from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.dense_heads import CenterNetHead, CenterNetUpdateHead, FoveaHead, PAAHead, RepPointsHead
from mmdet.models.dense_heads.paa_head import easy_component
from mmdet.models.necks import CTResNetNeck
from mmdet.registry import MODELS
from mmdet.utils import load_config
from tests.detector_case import filled_detector, gradient_norm, images, samples, train_with_fixed_norms
from tests.models.dense_heads.head_case import gt
from tests.reference_keys import reference_keys

PAA, FOVEA = 'paa/paa_r50_fpn_1x_coco.py', 'foveabox/fovea_r50_fpn_4xb4-1x_coco.py'
ALIGN = 'foveabox/fovea_r50_fpn_gn-head-align_4xb4-2x_coco.py'
MOMENT = 'reppoints/reppoints-moment_r50_fpn_1x_coco.py'
GRID = 'reppoints/reppoints-bbox_r50_fpn-gn_head-gn-grid_1x_coco.py'
CENTERNET = 'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py'
UPDATE = 'centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py'
# Listing of the names and shapes, parameters, those that train.
COUNTS = {
    PAA: ('paa_r50', 32_295_322, 32_069_978),
    ALIGN: ('fovea_r50_gn-head-align', 38_615_476, 38_390_132),
    'reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py': ('reppoints-moment_r50_gn', 36_849_078, 36_623_734),
    CENTERNET: ('centernet_r18-dcnv2', 14_436_901, 14_436_901),
    UPDATE: ('centernet-update_r50-caffe', 32_293_017, 32_017_497),
}
# Boxes of the two images, their seed: losses, norm of their gradient. PAA with 6 boxes of seed 3 is left out: there the reference's own mixtures
# change with the processor, and with weights that differ by a millionth.
LOSSES = [
    (PAA, (6, 6), 4, dict(loss_cls=319.5279, loss_bbox=1.140769, loss_iou=0.3661495), 2021.402),
    (PAA, (6, 6), 7, dict(loss_cls=243.8958, loss_bbox=1.09279, loss_iou=0.3703512), 1543.239),
    (PAA, (6, 0), 3, dict(loss_cls=713.4752, loss_bbox=1.042781, loss_iou=0.3362942), 4513.769),
    (PAA, (0, 0), 3, dict(loss_cls=4638.492, loss_bbox=0, loss_iou=0), 29349.68),
    (FOVEA, (6, 6), 3, dict(loss_cls=289.4518, loss_bbox=2.602905), 3119.577),
    (FOVEA, (6, 0), 3, dict(loss_cls=465.7996, loss_bbox=2.473043), 5017.278),
    (FOVEA, (0, 0), 3, dict(loss_cls=5358.079, loss_bbox=0), 57668.65),
    (ALIGN, (6, 6), 3, dict(loss_cls=259.1028, loss_bbox=3.340724), 2480.889),
    (ALIGN, (6, 0), 3, dict(loss_cls=417.0893, loss_bbox=3.613234), 3994.96),
    (ALIGN, (0, 0), 3, dict(loss_cls=4794.957, loss_bbox=0), 45968.52),
    (MOMENT, (6, 6), 3, dict(loss_cls=[264.3391, 63.70437, 10.13357, 3.782841, 1.110884], loss_pts_init=[0.5666964, 0, 0, 0, 0], loss_pts_refine=[1.797283, 0, 0.01853977, 0, 0]), 4487.271),
    (GRID, (6, 6), 3, dict(loss_cls=[546.887, 117.9448, 29.42806, 10.72866, 3.255133], loss_pts_init=[0.9534203, 0.09895408, 0, 0, 0], loss_pts_refine=[0.8226709, 0.3420385, 0, 0, 0]), 2589.134),
    (CENTERNET, (6, 6), 3, dict(loss_center_heatmap=2243.497, loss_wh=0.8644042, loss_offset=0.4128614), 691.6833),
    (UPDATE, (6, 6), 3, dict(loss_cls=866.2371, loss_bbox=2.023737), 5785.876),
]  # fmt: skip
# By image: number of detections, sums of scores and of boxes, class, score and box of the first.
DETECTIONS = {
    PAA: [
        (100, 73.98222, 19443.15, 2, 0.775788, [22.5424, 6.3408, 77.0629, 80.4337]),
        (100, 75.41589, 17742.24, 2, 0.794857, [61.4399, 0.0003, 109.8086, 49.151]),
    ],
    ALIGN: [
        (100, 90.67611, 27868.09, 23, 0.951991, [66.0072, 33.3388, 105.1101, 92.0211]),
        (100, 91.84803, 23954.62, 23, 0.962572, [47.1501, 30.3369, 87.7409, 75.0]),
    ],
    MOMENT: [
        (100, 90.91196, 22447.7, 0, 0.970084, [66.0329, 0, 132.0878, 96.0]),
        (100, 89.75488, 17884.61, 0, 0.962292, [40.6474, 0, 61.0409, 42.3265]),
    ],
    GRID: [
        (100, 75.17898, 25315.47, 51, 0.835669, [102.337, 67.3936, 123.032, 82.8313]),
        (100, 77.6521, 22641.61, 51, 0.859968, [37.9456, 58.7423, 67.7605, 70.8307]),
    ],
    CENTERNET: [
        (100, 56.57921, 25553.76, 73, 0.567909, [43.8408, 88.3878, 43.7962, 88.5285]),
        (100, 56.57725, 25600.39, 73, 0.567868, [123.8366, 88.3798, 123.7957, 88.5258]),
    ],
    UPDATE: [
        (100, 86.77069, 26151.87, 64, 0.921249, [36.1092, 56.0, 57.7506, 57.1722]),
        (100, 87.74553, 23598.11, 70, 0.935034, [76.0, 68.0, 79.1218, 75.0891]),
    ],
}


@functools.cache
def detector(path):
    changes = (
        {} if path.name.startswith('centernet_r18') else dict(backbone__depth=18, neck__in_channels=[64, 128, 256, 512])
    )
    return filled_detector(path, **changes)


@pytest.mark.parametrize('name', COUNTS)
def test_names_shapes_and_counts(repository, name):
    with torch.device('meta'):
        model = MODELS.build(load_config(repository / 'configs' / name).model)
    listing, *counts = COUNTS[name]
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_keys(listing)
    parameters = list(model.parameters())
    assert [sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)] == counts


@pytest.mark.parametrize(('name', 'counts', 'seed', 'expected', 'norm'), LOSSES)
def test_losses(repository, name, counts, seed, expected, norm):
    model = train_with_fixed_norms(detector(repository / 'configs' / name))
    try:
        losses = model.loss(images((96, 160)), samples((96, 160), counts, seed))
        assert set(losses) == set(expected)
        for key, value in expected.items():
            measured = torch.stack(losses[key]) if isinstance(value, list) else losses[key]
            torch.testing.assert_close(measured, torch.tensor(value, dtype=torch.float32), rtol=1e-4, atol=2e-6)
        assert gradient_norm(model, losses) == pytest.approx(norm, rel=1e-4)
    finally:
        model.eval()


@pytest.mark.parametrize('name', DETECTIONS)
def test_detections(repository, name):
    model, batch = detector(repository / 'configs' / name), samples((96, 160))
    with torch.no_grad():
        found = model.predict(images((96, 160)), batch)
    for sample, (count, total, boxes, label, score, box) in zip(found, DETECTIONS[name], strict=True):
        one = sample.pred_instances
        assert len(one) == count and one.labels[0] == label
        assert one.scores.sum().item() == pytest.approx(total, rel=1e-5) and one.scores[0].item() == pytest.approx(
            score, rel=1e-5
        )
        assert one.bboxes.sum().item() == pytest.approx(boxes, rel=1e-5)
        torch.testing.assert_close(one.bboxes[0], torch.tensor(box), rtol=1e-5, atol=1e-3)


# ------------------------------------------------------------------------------------------------ parts, by hand


@pytest.mark.parametrize('tied', [False, True])
def test_easy_component(tied):
    nan = float('nan')
    rows = [[nan] * 6, [1.0, nan, nan, nan, nan, nan], [1.0, 1.1, 1.2, 7.0, 7.1, 7.2], [0.0, 0.1, 0.2, 0.3, 9.0, nan]]
    chosen = easy_component(np.array(rows), tied)
    assert not chosen[:2].any()  # too few to tell two kinds
    # The likeliest of 1.0, 1.1, 1.2 is the middle one; of four alike, one of the middle two.
    assert chosen[2].tolist() == [True, True, False, False, False, False]
    assert chosen[3, :2].all() and not chosen[3, 3:].any()


def test_voting_moves_a_box_to_its_neighbours():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60], [0, 0, 0, 0]])
    candidates = InstanceData(
        bboxes=boxes, scores=torch.tensor([0.8, 0.4, 0.9, 0.5]), labels=torch.tensor([1, 1, 0, 2])
    )
    found = PAAHead.score_voting(candidates[torch.tensor([2, 0, 3])], candidates)
    assert found.labels.tolist() == [0, 1, 2]
    weight = 0.4 * np.exp(-((1 - 10 / 12) ** 2) / 0.025)
    expected = [[50, 50, 60, 60], [0, 0, 10, (0.8 * 10 + weight * 12) / (0.8 + weight)], [0, 0, 0, 0]]
    torch.testing.assert_close(found.bboxes, torch.tensor(expected, dtype=torch.float32))


def test_point_assigner():
    points = InstanceData(
        priors=torch.tensor([[0.0, 0, 8, 8], [8, 0, 8, 8], [16, 0, 8, 8], [0, 0, 16, 16], [16, 0, 16, 16]])
    )
    assign = PointAssigner(scale=4, pos_num=1).assign
    assert assign(points, gt()).gt_inds.tolist() == [0] * 5
    # 32 pixels: level 8; 64 pixels: level 16. Of two boxes nearest to one point, the nearer in its own widths has it.
    found = assign(points, gt([[-8, -16, 24, 16], [-40, -32, 24, 32], [-14, -16, 26, 16]], [3, 4, 5]))
    assert found.gt_inds.tolist() == [0, 1, 0, 2, 0] and found.labels.tolist() == [-1, 3, -1, 4, -1]


def test_middles_of_objects():
    head = FoveaHead(
        2, 4, feat_channels=4, stacked_convs=1, strides=[8], base_edge_list=[16], scale_ranges=[(1, 100)], norm_cfg=None
    )
    points = head.prior_generator.grid_priors([(4, 4)], device='cpu')
    labels, _ = head.get_targets(points, [gt()], [(4, 4)])
    assert labels.tolist() == [2] * 16
    # 32 pixels: rows and columns 1 and 2; the smaller box on top of it in the cell of its centre.
    labels, targets = head.get_targets(points, [gt([[8, 8, 16, 16], [0, 0, 32, 32]], [1, 0])], [(4, 4)])
    assert labels.view(4, 4).tolist() == [[2, 2, 2, 2], [2, 1, 0, 2], [2, 0, 0, 2], [2, 2, 2, 2]]
    torch.testing.assert_close(
        targets.exp().view(4, 4, 4)[1, 1:3], torch.tensor([[0.25] * 4, [1.25, 0.75, 0.75, 1.25]])
    )


def test_bumps_of_centers():
    head = CenterNetHead(4, 4, 2)
    (nothing, count), shape = (
        head.get_targets([torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.long)], (1, 2, 6, 8), (24, 32)),
        (1, 2, 6, 8),
    )
    assert count == 1 and all(not target.any() for target in nothing.values())
    boxes = torch.tensor([[4.0, 4, 20, 12], [4, 4, 22, 12]])
    found, count = head.get_targets([boxes], [torch.tensor([1, 1])], shape, (24, 32))
    heat = found['center_heatmap_target']
    assert count == 1 and heat[0, 1, 2, 3] == 1 and not heat[0, 0].any() and heat[0, 1].max() == 1
    # Both have their centre in one cell: size and offset are those of the last.
    assert found['wh_target'][0, :, 2, 3].tolist() == [4.5, 2] and found['offset_target'][0, :, 2, 3].tolist() == [
        0.25,
        0,
    ]
    assert found['wh_offset_target_weight'].sum() == 2


def test_an_image_without_objects_has_empty_heat_maps():
    """Unlike in the reference, where such an image costs of the order of classes^4."""
    head = CenterNetUpdateHead(5, 32, feat_channels=32, stacked_convs=1, strides=[8, 16, 32, 64, 128])
    maps = tuple(torch.zeros(2, 32, side, side) for side in (8, 4, 2, 1, 1))
    metas = [dict(img_shape=(64, 64))] * 2
    losses = head.loss_by_feat(*head(maps), [gt([[8, 8, 40, 40]], [1]), gt()], metas)
    alone = head.loss_by_feat(
        *([level[:1] for level in levels] for levels in head(maps)), [gt([[8, 8, 40, 40]], [1])], metas[:1]
    )
    assert alone['loss_cls'] < losses['loss_cls'] < 2.5 * alone['loss_cls']
    torch.testing.assert_close(losses['loss_bbox'], alone['loss_bbox'])
    none = head.loss_by_feat(*head(maps), [gt(), gt()], metas)
    assert none['loss_bbox'] == 0 and 0 < none['loss_cls'] < 1000


@pytest.mark.parametrize(
    ('build', 'field'),
    [
        (lambda: PAAHead(2, 4, covariance_type='round'), 'covariance_type'),
        (lambda: RepPointsHead(2, 4, num_points=8), 'num_points'),
        (lambda: RepPointsHead(2, 4, transform_method='max'), 'transform_method'),
        (
            lambda: RepPointsHead(2, 4, train_cfg=dict(init=dict(assigner=dict(type='PointAssigner')))),
            'train_cfg.refine.assigner',
        ),
        (lambda: CTResNetNeck(4, (4, 4), (4,)), 'num_deconv_kernels'),
        (lambda: FoveaHead(2, 4, strides=[8]), 'base_edge_list'),
        (lambda: CenterNetUpdateHead(2, 32, strides=[8]), 'regress_ranges'),
    ],
)
def test_bad_arguments(build, field):
    with pytest.raises((ConfigError, ModelInputError), match=field):
        build()
