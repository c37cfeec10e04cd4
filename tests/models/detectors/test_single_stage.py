import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, ModelInputError
from tests.reference_fill import fill_state_dict, tensor


@pytest.fixture(scope='module')
def small_cfg(repository):
    cfg = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    cfg.bbox_head.num_classes = 4
    return cfg


@pytest.fixture(scope='module')
def small(small_cfg):
    torch.manual_seed(0)
    model = MODELS.build(small_cfg)
    model.init_weights()
    return model


def batch(*shapes, boxes=((2, 2, 30, 30),)):
    samples = []
    for height, width in shapes:
        sample = DetDataSample(
            metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
        )
        bboxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        sample.gt_instances = InstanceData(bboxes=bboxes, labels=torch.zeros(len(bboxes), dtype=torch.long))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for shape in shapes]
    return dict(inputs=images, data_samples=samples)


# Tolerances of the reference sheet: absolute, and relative to the value or the row's deviation.
TOLERANCE = {
    'gfl_r50_fpn_1x_coco': dict(rtol=0, atol=2e-5),
    'gfl_r101-dconv-c3-c5_fpn_ms-2x_coco': dict(rtol=1e-3),
    'gfl_x101-32x4d_fpn_ms-2x_coco': dict(rtol=0, atol=1e-4),
}
# Keys, parameters, those that train with the first stage frozen.
COUNTS = {
    'gfl_r50_fpn_1x_coco': (368, 32_440_537, 32_215_193),
    'gfl_r101-dconv-c3-c5_fpn_ms-2x_coco': (734, 52_718_837, 52_493_493),
    'gfl_x101-32x4d_fpn_ms-2x_coco': (674, 51_061_209, 50_845_849),
}


def golden_rows(repository, config):
    text = (repository / 'tests/assets/whole_networks.txt').read_text()
    section = text.split(f'# {config}\n')[1].split('#')[0]
    for line in section.strip().splitlines():
        name, shape, *numbers = line.split()
        yield name, tuple(map(int, shape.split('x'))), torch.tensor([float(x) for x in numbers], dtype=torch.double)


@pytest.mark.parametrize('config', list(COUNTS))
def test_golden_networks(repository, config):
    cfg = Config.fromfile(repository / f'configs/gfl/{config}.py').model
    cfg.backbone.init_cfg = None
    model = MODELS.build(cfg)
    state, trains = model.state_dict(), sum(p.numel() for p in model.train().parameters() if p.requires_grad)
    assert (len(state), sum(p.numel() for p in model.parameters()), trains) == COUNTS[config]
    model.eval().load_state_dict(fill_state_dict(state), strict=True)
    with torch.no_grad():
        stages = model.backbone(tensor((1, 3, 96, 128), 7, 2))
        levels = model.neck(stages)
        cls, reg = model.bbox_head(levels)
    outputs = {f'C{i + 2}': out for i, out in enumerate(stages)}
    for name, outs in (('P', levels), ('cls', cls), ('reg', reg)):
        outputs |= {f'{name}{i + 3}': out for i, out in enumerate(outs)}
    rows = list(golden_rows(repository, config))
    assert len(rows) == 19
    for name, shape, expected in rows:
        out = outputs[name]
        assert tuple(out.shape) == shape
        out = out.double().flatten()
        measured = torch.stack([out.mean(), out.std(), out.min(), out.max(), out[0], out[-1]])
        tolerance = dict(TOLERANCE[config])
        tolerance.setdefault('atol', 1e-3 * expected[1].item())  # entries near zero: by the row's deviation
        torch.testing.assert_close(measured, expected, **tolerance, msg=lambda text, name=name: f'{name}: {text}')


def test_modes(small):
    data = small.data_preprocessor(batch((64, 96), (60, 90)), training=True)
    losses = small(**data, mode='loss')
    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_dfl'}
    assert all(len(parts) == 5 for parts in losses.values())
    cls, reg = small(data['inputs'], mode='tensor')
    assert [tuple(level.shape) for level in cls[:2]] == [(2, 4, 8, 12), (2, 4, 4, 6)]
    assert reg[0].shape == (2, 68, 8, 12)
    results = small.eval()(**data, mode='predict')
    small.train()
    assert all(isinstance(result.pred_instances, InstanceData) for result in results)
    with pytest.raises(RuntimeError, match='mode'):
        small(data['inputs'], mode='train')


@pytest.mark.parametrize(
    ('shapes', 'boxes'),
    [
        ([(64, 64), (40, 100)], ()),
        ([(64, 64)], ((0, 0, 1, 1),)),
        ([(33, 65), (128, 32), (64, 64)], ((1, 1, 20, 20), (5, 5, 60, 30))),
        ([(64, 96)], tuple((x % 80, y % 50, x % 80 + 9, y % 50 + 9) for x, y in zip(range(2000), range(0, 6000, 3)))),
    ],
    ids=['no objects', 'tiny object', 'mixed sizes', '2,000 objects'],
)
def test_training_step_is_finite(small, shapes, boxes):
    small.zero_grad()
    loss, log = small.parse_losses(small(**small.data_preprocessor(batch(*shapes, boxes=boxes), True), mode='loss'))
    loss.backward()
    assert all(value.isfinite() for value in log.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in small.parameters() if p.requires_grad)


def test_padding_of_the_batch_does_not_reach_smaller_images_targets(small):
    # The same image beside a larger one: same positives, same box losses but for what the padded pixels do to the features.
    alone, beside = batch((64, 64)), batch((64, 64), (128, 128))
    for data, count in ((alone, 1), (beside, 2)):
        data = small.data_preprocessor(data, True)
        sizes = [(-(-data['inputs'].shape[2] // s), -(-data['inputs'].shape[3] // s)) for s in (8, 16, 32, 64, 128)]
        targets = small.bbox_head.match_targets(
            sizes,
            [sample.gt_instances for sample in data['data_samples']],
            [s.metainfo for s in data['data_samples']],
            device='cpu',
        )
        assert targets.label_weights[0].sum() == 64 + 16 + 4 + 1 + 1
        assert len(targets.labels) == count


def test_config_is_left_as_it_was(small_cfg):
    before = small_cfg.to_dict()
    MODELS.build(small_cfg)
    assert small_cfg.to_dict() == before


def test_rpn_head_of_a_two_stage_checkpoint_starts_the_head(small_cfg, small):
    state = {name.replace('bbox_head.', 'rpn_head.'): value for name, value in small.state_dict().items()}
    model = MODELS.build(small_cfg)
    model.load_state_dict(dict(state), strict=True)
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in model.state_dict().items())
    # A checkpoint with both is a two-stage detector's whose own head is the bbox_head: nothing is renamed.
    both = dict(state, **{'bbox_head.integral.project': small.bbox_head.integral.project})
    missing = model.load_state_dict(both, strict=False).missing_keys
    assert 'bbox_head.gfl_cls.weight' in missing and 'rpn_head.gfl_cls.weight' in both


def test_settings_may_be_a_config_and_reach_the_head(small_cfg):
    cfg = dict(small_cfg, test_cfg=Config(dict(small_cfg.test_cfg, max_per_img=3)), train_cfg=Config(dict(small_cfg.train_cfg)))  # fmt: skip
    model = MODELS.build(dict(cfg, bbox_head=Config(dict(small_cfg.bbox_head))))
    assert model.bbox_head.test_cfg.max_per_img == model.test_cfg.max_per_img == 3
    assert model.bbox_head.train_cfg == small_cfg.train_cfg and model.bbox_head.assigner.topk == 9


class Backbone(torch.nn.Module):
    """One map, the image; says its channels where it has any to say."""

    def __init__(self, channels):
        super().__init__()
        if channels is not None:
            self.out_channels = channels

    def forward(self, x):
        return (x,)


class Neck(torch.nn.Module):
    def __init__(self, in_channels=None):
        super().__init__()
        self.in_channels = in_channels

    def forward(self, x):
        return (x[0] + 1,)


@pytest.mark.parametrize(
    ('known', 'given', 'expected'),
    [
        ([8, 16], dict(in_channels=[8, 16]), [8, 16]),
        ((8, 16), dict(in_channels=(8, 16)), [8, 16]),
        ([8, 16], dict(in_channels='auto'), [8, 16]),
        ([8, 16], {}, [8, 16]),
        ([8, 16], dict(in_channels=[256]), [8, 16]),
        (None, dict(in_channels=[256]), [256]),
        (64, dict(in_channels=[256]), [256]),
        (None, {}, None),
        (None, dict(in_channels='auto'), ConfigError),
    ],
)
def test_channels_of_the_neck(small_cfg, known, given, expected):
    parts = dict(backbone=dict(type=Backbone, channels=known), neck=dict(type=Neck, **given), bbox_head=small_cfg.bbox_head)  # fmt: skip
    if expected is ConfigError:
        with pytest.raises(ConfigError, match='Backbone'):
            SingleStageDetector(**parts)
        return
    model = SingleStageDetector(**parts)
    assert model.neck.in_channels == expected and model.with_neck
    image = torch.zeros(1, 3, 4, 4)
    assert model.extract_feat(image)[0].eq(1).all()
    del parts['neck']
    alone = SingleStageDetector(**parts)
    assert not alone.with_neck and alone.extract_feat(image)[0].eq(0).all()


def test_predictions_are_stored_in_original_pixels(small):
    data = small.data_preprocessor(batch((64, 96)))
    data['data_samples'][0].set_metainfo(dict(scale_factor=(2.0, 0.5)))
    small.eval()
    plain, scaled = (
        small.predict(**{'batch_inputs': data['inputs'], 'batch_data_samples': data['data_samples'], **options})[0].pred_instances
        for options in (dict(rescale=False), {})
    )  # fmt: skip
    small.train()
    order, other = (found.bboxes[:, 0].argsort() for found in (plain, scaled))
    assert len(plain) == len(scaled)
    torch.testing.assert_close(plain.bboxes[order][:, 2] / 2, scaled.bboxes[other][:, 2])


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_samples_are_asked_for(small, mode):
    with pytest.raises(ModelInputError, match=f'{mode}.*one sample per image'):
        small(torch.zeros(1, 3, 64, 64), mode=mode)


@pytest.mark.slow
def test_channels_last_gives_the_same(small_cfg):
    model = MODELS.build(small_cfg).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)
        last = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    assert len(expected) == len(last) == 2
    for a, b in zip([*expected[0], *expected[1]], [*last[0], *last[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
