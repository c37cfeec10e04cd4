"""KnowledgeDistillationSingleStageDetector: where its teacher comes from, and that the teacher stays outside."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmdet.registry import MODELS
from mmdet.utils import CheckpointError, ConfigError
from tests.detector_case import samples
from tests.devices import on

from .test_single_stage import batch

SQUARES = dict(
    type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
)


def small(repository, **head):
    cfg = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    cfg.bbox_head.update(num_classes=4, stacked_convs=1, **head)
    return cfg


@pytest.fixture
def teacher_cfg(repository):
    return small(repository)


def student_cfg(repository, teacher, **options):
    cfg = small(repository)
    cfg.type, cfg.bbox_head.type = 'KnowledgeDistillationSingleStageDetector', 'LDHead'
    return ConfigDict(cfg, teacher_config=teacher, **options)


@pytest.fixture
def student(repository, teacher_cfg):
    torch.manual_seed(0)
    return MODELS.build(student_cfg(repository, ConfigDict(model=teacher_cfg)))


def one_step(model):
    data = model.data_preprocessor(batch((64, 96), (60, 90)), training=True)
    return model.train()(**data, mode='loss')


def test_the_teacher_is_outside_the_tree(student, repository):
    plain = MODELS.build(small(repository))
    assert list(student.state_dict()) == list(plain.state_dict())
    losses = one_step(student)
    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_dfl', 'loss_ld'} and sum(losses['loss_ld']) > 0
    teacher = student.teacher_model
    assert list(student.state_dict()) == list(plain.state_dict())
    assert not {id(p) for p in teacher.parameters()} & {id(p) for p in student.parameters()}
    assert all(module is not teacher for module in student.modules())
    before = copy.deepcopy(teacher.state_dict())
    sum(sum(parts) for parts in losses.values()).backward()
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    one_step(student)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_modes_of_the_teacher(student, repository, teacher_cfg):
    one_step(student)
    assert student.training and not any(module.training for module in student.teacher_model.modules())
    moving = MODELS.build(student_cfg(repository, ConfigDict(model=teacher_cfg), eval_teacher=False))
    one_step(moving)
    assert moving.teacher_model.training and not moving.eval().teacher_model.training


def test_prediction_is_the_students_and_needs_no_teacher(repository, tmp_path):
    teacher = ConfigDict(model=small(repository))
    model = MODELS.build(student_cfg(repository, teacher, teacher_ckpt=str(tmp_path / 'none.pth'))).eval()
    plain = MODELS.build(small(repository)).eval()
    plain.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 64, 96)
    for one, other in zip(model(images), plain(images), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    model.predict(images, samples((64, 96), (1,)))
    with pytest.raises(CheckpointError, match='none.pth'):
        one_step(model)
    with pytest.raises(CheckpointError, match='teacher_ckpt: .*none.pth'):
        model.init_weights()


def test_copies_share_the_teacher(student):
    teacher = student.teacher_model
    assert copy.deepcopy(student).teacher_model is teacher


def test_teacher_follows_the_student(student, device):
    moved = on(device, student)
    one_step(moved)
    assert {p.device for p in moved.teacher_model.parameters()} == {p.device for p in moved.parameters()}


# ------------------------------------------------------------------------------------------------ where it comes from


def test_weights_of_the_teacher(repository, teacher_cfg, tmp_path):
    torch.manual_seed(1)
    state = MODELS.build(teacher_cfg).state_dict()
    path = tmp_path / 'teacher.pth'
    torch.save(dict(meta={}, state_dict=state), path)
    teacher = ConfigDict(model=teacher_cfg)
    loaded = MODELS.build(student_cfg(repository, teacher, teacher_ckpt=str(path))).teacher_model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())

    torch.save(dict(state_dict={name: value for name, value in state.items() if 'gfl_reg' not in name}), path)
    with pytest.raises(CheckpointError, match='lacks 2 of the .* bbox_head.gfl_reg.weight'):
        _ = MODELS.build(student_cfg(repository, teacher, teacher_ckpt=str(path))).teacher_model
    nan = torch.full_like(state['bbox_head.gfl_reg.bias'], torch.nan)
    torch.save(dict(state_dict=dict(state, **{'bbox_head.gfl_reg.bias': nan})), path)
    with pytest.raises(CheckpointError, match='teacher_ckpt: .*gfl_reg.bias: is not finite'):
        _ = MODELS.build(student_cfg(repository, teacher, teacher_ckpt=str(path))).teacher_model
    torch.save(dict(state_dict=dict(state, **{'bbox_head.gfl_reg.bias': torch.zeros(3)})), path)
    with pytest.raises(CheckpointError, match='(?s)does not fit the teacher.*gfl_reg.bias'):
        _ = MODELS.build(student_cfg(repository, teacher, teacher_ckpt=str(path))).teacher_model


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (dict(reg_max=8), r"reg_max.*bins of a side must be the student's, 16. Received: 8"),
        (dict(anchor_generator=dict(SQUARES, strides=[4, 8, 16, 32, 64])), r'strides must be'),
        (dict(anchor_generator=dict(SQUARES, strides=[8, 16, 32, 64])), r'strides must be'),
    ],
)
def test_a_teacher_of_another_form(repository, head, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(student_cfg(repository, ConfigDict(model=small(repository, **head))))


def test_a_teacher_without_distributions(repository):
    retina = Config.fromfile(repository / 'configs/_base_/models/retinanet_r50_fpn.py')
    with pytest.raises(ConfigError, match='reg_max'):
        MODELS.build(student_cfg(repository, retina))


@pytest.mark.parametrize('kind', ['GFocalHead', 'GFLHead'])
def test_any_gfl_head_teaches(repository, kind):
    teacher = small(repository, type=kind)
    teacher.bbox_head.num_classes = 7  # only boxes are distilled
    if kind == 'GFocalHead':
        teacher.bbox_head.loss_cls.use_sigmoid = False
    losses = one_step(MODELS.build(student_cfg(repository, dict(model=teacher))))
    assert all(torch.isfinite(part) for part in losses['loss_ld'])


def test_paths_of_configs(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Of this checkout, wherever the work is done.
    model = MODELS.build(student_cfg(repository, 'configs/_base_/models/gfl_r50_fpn.py'))
    assert model._teacher_config.backbone.depth == 50 and 'init_cfg' not in model._teacher_config.backbone
    (tmp_path / 'own.py').write_text(f'model = {small(repository).to_dict()!r}')
    assert MODELS.build(student_cfg(repository, 'own.py'))._teacher_config.backbone.depth == 18
    with pytest.raises(ConfigError, match=r"no such config file. Received: 'nowhere.py'"):
        MODELS.build(student_cfg(repository, 'nowhere.py'))
    with pytest.raises(ConfigError, match='has no model'):
        MODELS.build(student_cfg(repository, dict(backbone={})))
