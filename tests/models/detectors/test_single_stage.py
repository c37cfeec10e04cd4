import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
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


# Output: shape, mean, standard deviation, min, max, first, last.
GOLDEN_R50 = """
P3 1x256x12x16 -0.037579 4.247814 -14.351263 17.180321 -0.975809 -3.426288
P4 1x256x6x8 -0.276881 3.071549 -10.874443 10.705790 0.231665 0.093130
P5 1x256x3x4 0.020345 1.617031 -6.463405 7.441252 0.403497 -0.504111
P6 1x256x2x2 0.006493 1.300036 -4.142398 3.494614 0.201018 2.440196
P7 1x256x1x1 -0.015516 0.830671 -2.098928 2.322450 -1.442547 0.132668
cls3 1x80x12x16 -0.096138 0.657905 -2.672385 2.386868 0.123202 0.365425
cls4 1x80x6x8 -0.085183 0.644414 -2.346200 1.981377 -0.324785 0.238003
cls5 1x80x3x4 -0.038805 0.613557 -2.118987 2.103873 0.263000 -0.018080
cls6 1x80x2x2 -0.041180 0.488381 -1.447289 1.577405 -0.114406 0.468744
cls7 1x80x1x1 -0.010224 0.244517 -0.485513 0.665007 0.099749 -0.438887
reg3 1x68x12x16 0.029322 0.714045 -3.149271 2.210003 0.030945 0.037438
reg4 1x68x6x8 0.037402 0.677111 -2.552064 2.558403 -0.493420 -0.167605
reg5 1x68x3x4 0.039411 0.584643 -2.052510 1.786479 -0.127566 0.154192
reg6 1x68x2x2 0.018466 0.520087 -1.513598 1.373718 -0.731146 -0.038431
reg7 1x68x1x1 0.023849 0.291956 -0.550617 0.684903 -0.404542 -0.171147
"""


def test_golden_r50(repository):
    cfg = Config.fromfile(repository / 'configs/gfl/gfl_r50_fpn_1x_coco.py').model
    cfg.backbone.init_cfg = None
    model = MODELS.build(cfg).eval()
    state = model.state_dict()
    assert len(state) == 368
    assert sum(parameter.numel() for parameter in model.parameters()) == 32_440_537
    model.train()  # freezes the stem and the first stage
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == 32_215_193
    model.eval().load_state_dict(fill_state_dict(state), strict=True)
    with torch.no_grad():
        features = model.extract_feat(tensor((1, 3, 96, 128), 7, 2))
        cls, reg = model.bbox_head(features)
    outputs = {
        f'{name}{i + 3}': out
        for name, outs in (('P', features), ('cls', cls), ('reg', reg))
        for i, out in enumerate(outs)
    }
    for line in GOLDEN_R50.strip().splitlines():
        name, shape, *numbers = line.split()
        out = outputs[name]
        assert 'x'.join(map(str, out.shape)) == shape
        out = out.double().flatten()
        measured = torch.stack([out.mean(), out.std(), out.min(), out.max(), out[0], out[-1]])
        torch.testing.assert_close(
            measured, torch.tensor([float(x) for x in numbers], dtype=torch.double), rtol=0, atol=2e-5, msg=name
        )


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
        targets = small.bbox_head.get_targets(
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
    MODELS.build(small_cfg).load_state_dict(state, strict=True)


@pytest.mark.slow
def test_compiled_and_channels_last_give_the_same(small_cfg):
    model = MODELS.build(small_cfg).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)[0]
        last = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))[0]
    for a, b in zip(expected, last):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
