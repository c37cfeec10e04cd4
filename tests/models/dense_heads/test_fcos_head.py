"""The heads that regress from points: their targets against a plain search, and what FCOS's settings change."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.engine import load_into
from mmdet.errors import ArgumentError, ModelInputError
from mmdet.models.dense_heads import FCOSHead
from mmdet.structures import DetDataSample
from tests.devices import on

from .head_case import TEST_CFG, gt

STRIDES = (8, 16, 32, 64, 128)
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))
SIZES = [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]


def head(**options):
    settings = dict(num_classes=4, in_channels=8, feat_channels=8, stacked_convs=1, norm_cfg=None, strides=STRIDES)
    return FCOSHead(**{**settings, 'test_cfg': TEST_CFG, **options})


def points(sizes=SIZES, device='cpu'):
    return head().prior_generator.grid_priors(sizes, device=device)


def searched(level_points, instances, center_sampling=False, radius=1.5):
    """Labels and targets of one image, all points against all boxes."""
    labels, targets = [], []
    for level, stride, (least, most) in zip(level_points, STRIDES, RANGES):
        for x, y in level.tolist():
            best = None
            for box, label in zip(instances.bboxes.tolist(), instances.labels.tolist()):
                sides = (x - box[0], y - box[1], box[2] - x, box[3] - y)
                inside = min(sides) > 0
                if center_sampling:
                    middle, half = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), radius * stride
                    low = [max(middle[k] - half, box[k]) for k in range(2)]
                    high = [min(middle[k] + half, box[2 + k]) for k in range(2)]
                    inside = low[0] < x < high[0] and low[1] < y < high[1]
                area = (box[2] - box[0]) * (box[3] - box[1])
                if inside and least <= max(sides) <= most and (best is None or area < best[0]):
                    best = area, label, sides
            labels.append(4 if best is None else best[1])
            targets.append([0, 0, 0, 0] if best is None else best[2])
    return torch.tensor(labels), torch.tensor(targets, dtype=torch.float32)


def test_without_boxes_all_is_background(device):
    labels, targets = head().to(device).get_targets(points(device=device), on(device, [gt(), gt()]))
    assert [len(level) for level in labels] == [128, 32, 8, 2, 2]
    assert all((level == 4).all() for level in labels) and not any(level.any() for level in targets)


@pytest.mark.parametrize(
    ('center_sampling', 'positives', 'centerness', 'first_rows'),
    [
        (False, [64, 0, 0, 0, 0], 18.301973, [2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 2]),
        (True, [12, 0, 0, 0, 0], 5.989803, [4, 4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 4, 4, 4, 4, 4]),
    ],
)
def test_published_case(device, center_sampling, positives, centerness, first_rows):
    one = gt([[4, 4, 60, 50], [10, 10, 26, 30], [0, 0, 64, 64]], [0, 1, 2])
    fcos = head(center_sampling=center_sampling)
    labels, targets = on('cpu', fcos.get_targets(points(device=device), on(device, [one])))
    assert [(level < 4).sum().item() for level in labels] == positives
    assert labels[0][:16].tolist() == first_rows
    assert fcos.centerness_target(targets[0][labels[0] < 4]).sum().item() == pytest.approx(centerness, rel=1e-6)


@pytest.mark.parametrize('center_sampling', [False, True])
@pytest.mark.parametrize('max_pairs', [2**22, 7])
def test_targets_are_those_of_a_search(monkeypatch, device, center_sampling, max_pairs):
    monkeypatch.setattr('mmdet.models.dense_heads.fcos_head._MAX_PAIRS', max_pairs)
    sizes = [(20, 25), (10, 13), (5, 7), (3, 4), (2, 2)]
    generator = torch.Generator().manual_seed(0)
    images = []
    for count in (9, 0, 4):
        # Whole pixels: points lie on sides, sides are as far as a range ends, and areas are equal.
        corners = torch.randint(0, 160, (count, 2, 2), generator=generator).sort(1).values
        bboxes = corners.flatten(1).float()
        images.append(gt(bboxes.tolist(), torch.randint(0, 4, (count,), generator=generator).tolist()))
    images.append(gt([[20, 20, 40, 60], [20, 20, 60, 40], [0, 0, 132, 132], [-500, -600, 700, 800]], [0, 1, 2, 3]))
    grid = points(sizes)
    expected = [searched(grid, one, center_sampling) for one in images]
    counts = [len(level) for level in grid]
    labels, targets = on(
        'cpu',
        head(center_sampling=center_sampling).get_targets(points(sizes, device), on(device, images)),
    )
    for kind, measured in enumerate((labels, targets)):
        wanted = torch.stack([one[kind] for one in expected]).split(counts, dim=1)
        for level, want in zip(measured, wanted, strict=True):
            torch.testing.assert_close(level, want.flatten(0, 1), rtol=0, atol=1e-5)


def test_label_of_no_class_is_refused():
    with pytest.raises(ModelInputError, match=r'labels must be in \[0, 4\)'):
        head().get_targets(points(), [gt([[0, 0, 20, 20]], [4])])


def test_settings_are_checked():
    with pytest.raises(ArgumentError, match='conv_bias'):
        head(conv_bias='yes')
    with pytest.raises(ModelInputError, match='regress_ranges'):
        head(regress_ranges=RANGES[:4])
    with pytest.raises(ModelInputError, match='5 levels'):
        head()((torch.zeros(1, 8, 4, 4),))


def test_layers_follow_the_settings():
    names = set(head(conv_bias=False, dcn_on_last_conv=True, stacked_convs=2).state_dict())
    assert 'cls_convs.0.conv.bias' not in names and 'cls_convs.0.conv.conv_offset.weight' not in names
    assert {'cls_convs.1.conv.conv_offset.weight', 'reg_convs.1.conv.conv_offset.bias'} <= names
    assert 'cls_convs.0.conv.bias' in head().state_dict()
    softmax = head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    assert softmax.conv_cls.out_channels == 5
    assert head(stacked_convs=0).conv_cls.in_channels == 8


def test_old_names_of_the_predictors_are_read():
    fcos, other = head(), head()
    old = {key.replace('conv_', 'fcos_') if key.startswith('conv_') else key: v for key, v in fcos.state_dict().items()}
    assert 'fcos_centerness.bias' in old
    assert load_into(head(), dict(old), strict=True).exact  # where names are compared before anything is loaded
    other.load_state_dict(old, strict=True)
    assert torch.equal(other.conv_reg.weight, fcos.conv_reg.weight)


def test_cosine_predictor_sees_directions_only():
    fcos = head(cls_predictor_cfg=dict(type='NormedConv2d', tempearture=10)).eval()
    with torch.no_grad():
        x = torch.rand(1, 8, 3, 3) + 0.1
        scores, doubled = fcos.conv_cls(x), fcos.conv_cls(2 * x)
        fcos.conv_cls.weight *= 3
        torch.testing.assert_close(doubled, scores)
        torch.testing.assert_close(fcos.conv_cls(x), scores)
    assert (scores - fcos.conv_cls.bias.view(1, -1, 1, 1)).abs().max() <= 10


@pytest.mark.parametrize('norm_on_bbox', [False, True])
def test_losses_and_detections_do_not_depend_on_the_mode(device, norm_on_bbox):
    torch.manual_seed(0)
    fcos = head(norm_on_bbox=norm_on_bbox).to(device)
    with torch.no_grad():
        fcos.conv_reg.bias += 2
    x = [torch.randn(2, 8, *size, device=device) for size in SIZES]
    meta = dict(img_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))
    truth = on(device, [gt([[4, 4, 60, 50]], [0]), gt()])
    batch = [DetDataSample(metainfo=meta, gt_instances=one) for one in truth]
    trained, found = fcos.train().loss_and_predict(x, batch)
    evaluated = fcos.eval().loss(x, batch)
    predicted = fcos.predict(x, batch)
    for key, value in trained.items():
        torch.testing.assert_close(evaluated[key], value)
    assert trained['loss_bbox'] > 0
    for one, other in zip(found, predicted, strict=True):
        torch.testing.assert_close(one.bboxes, other.bboxes)
    sum(trained.values()).backward()
    assert all(p.grad is not None for p in fcos.parameters())


def test_empty_batch_reaches_every_parameter():
    fcos = head()
    losses = fcos.loss_by_feat(
        *fcos([torch.randn(1, 8, *size) for size in SIZES]), [InstanceData(**gt())], [dict(img_shape=(64, 64))]
    )
    assert losses['loss_bbox'] == losses['loss_centerness'] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in fcos.parameters())
