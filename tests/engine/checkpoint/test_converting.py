"""Checkpoints under old names, filled by the rule of the reference sheet, through the converter and into models."""

import hashlib
import runpy
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mmdet.engine import load_checkpoint_file, load_into
from mmdet.engine.checkpoint.converting import (
    ConversionReport,
    _clean_meta,
    _without_averages,
    convert_checkpoint,
    describe,
    join_checkpoints,
    publish_checkpoint,
    write_checkpoint,
)
from mmdet.errors import CheckpointError
from mmdet.registry import MODELS
from mmdet.utils import load_config
from tests.reference_fill import fill_state_dict

CLASSES = ('RBC', 'WBC', 'Platelets')


def detector(repository, name: str = 'gfl/gfl_r50_fpn_1x_coco.py', *, num_classes: int = 80, dcn: str | None = None):
    """A detector of the named config with narrow layers: the same names, a hundredth of the numbers."""
    cfg = load_config(repository / 'configs' / name).model
    cfg.backbone.update(base_channels=8, stem_channels=8, init_cfg=None)
    cfg.neck.update(in_channels=[32, 64, 128, 256], out_channels=16)
    cfg.bbox_head.update(
        num_classes=num_classes, in_channels=16, feat_channels=16, norm_cfg=dict(type='GN', num_groups=4)
    )
    if dcn:
        cfg.backbone.update(dcn=dict(type=dcn, deform_groups=1), stage_with_dcn=(False, True, True, True))
    return MODELS.build(cfg).eval()


def filled(model) -> OrderedDict:
    return OrderedDict(fill_state_dict(model.state_dict()))


def saved(tmp_path, state, name='in.pth', **more):
    path = tmp_path / name
    torch.save(dict(state_dict=state, **more), path)
    return path


def outputs(model) -> list[torch.Tensor]:
    x = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.no_grad():
        scores, boxes = model(x, mode='tensor')
    return [*scores, *boxes]


def assert_same_outputs(first, second):
    for a, b in zip(outputs(first), outputs(second), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_an_empty_state_dict_is_refused(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'in.pth')
    with pytest.raises(CheckpointError, match='empty'):
        convert_checkpoint(tmp_path / 'in.pth')


def test_v1_names(tmp_path, repository):
    """GFL's own repository: another name of the integral's buffer; saved from a parallel wrapper, with an optimiser."""
    name = 'gfl_r50_1x.py'
    source = detector(repository, name)
    state = filled(source)
    source.load_state_dict(state)
    old = OrderedDict((f'module.{k.replace("integral", "distribution_project")}', v) for k, v in state.items())
    meta = dict(CLASSES=CLASSES, epoch=12, time=np.float64(3), hook_msgs={}, env_info='long')
    path = saved(tmp_path, old, meta=meta, optimizer=dict(state={}))

    target = detector(repository, name)
    checkpoint, report = convert_checkpoint(path, model=target)
    assert ('module.bbox_head.distribution_project.project', 'bbox_head.integral.project') in report.renamed
    assert list(checkpoint['state_dict']) == list(state) and set(checkpoint) == {'meta', 'state_dict'}
    assert checkpoint['meta'] == dict(epoch=12, time=3.0, dataset_meta=dict(classes=CLASSES))
    assert report.dropped == ['optimizer: of the training run'] and report.load.exact
    assert report.found[0] == 'GFL head, 80 classes'
    assert_same_outputs(source, target)


@pytest.mark.parametrize(('stored', 'configured'), [('DCN', 'DCNv2'), ('DCNv2', 'DCN'), ('DCN', 'DCN')])
def test_deformable_layers_follow_the_checkpoint(tmp_path, repository, stored, configured):
    source = detector(repository, dcn=stored)
    state = filled(source)
    source.load_state_dict(state)
    target = detector(repository, dcn=configured)
    _, report = convert_checkpoint(saved(tmp_path, state), model=target)
    # 4 + 6 + 3 blocks
    assert f'13 deformable layers {"v1" if stored == "DCN" else "v2"} ({stored!r})' in report.found
    assert len(report.load.notes) == (13 if stored != configured else 0)
    assert_same_outputs(source, target)


def test_offsets_under_their_first_name(tmp_path, repository):
    source = detector(repository, dcn='DCN')
    state = filled(source)
    source.load_state_dict(state)
    old = OrderedDict((k.replace('conv2.conv_offset.', 'conv2_offset.'), v) for k, v in state.items())
    assert 'backbone.layer2.0.conv2_offset.weight' in old
    target = detector(repository, dcn='DCN')
    checkpoint, report = convert_checkpoint(saved(tmp_path, old), model=target)
    assert len(report.renamed) == 26 and list(checkpoint['state_dict']) == list(state)
    assert_same_outputs(source, target)


@pytest.mark.parametrize('channels', [80, 81])
def test_gflv2_takes_over_the_class_channels(tmp_path, repository, channels):
    name = 'gfocal/gfocal_r50_fpn_1x.py'
    state = filled(detector(repository, name, num_classes=channels))
    target = detector(repository, name)
    _, report = convert_checkpoint(saved(tmp_path, state), model=target)
    assert f'{channels} class channels' in report.found[0]
    assert len(report.load.notes) == (1 if channels == 81 else 0)
    assert [score.shape[1] for score in outputs(target)[:5]] == [channels] * 5
    assert torch.equal(target.bbox_head.gfl_cls.weight, state['bbox_head.gfl_cls.weight'])


@pytest.mark.parametrize(
    ('name', 'channels'),
    [('gfl/gfl_r50_fpn_1x_coco.py', 81), ('gfl_r50_1x.py', 20), ('gfocal/gfocal_r50_fpn_1x.py', 3)],
)
def test_a_wrong_class_count_is_explained(tmp_path, repository, name, channels):
    state = filled(detector(repository, name, num_classes=channels))
    target = detector(repository, name)
    before = target.bbox_head.gfl_cls.weight.clone()
    message = rf'has {channels} class channels \(bbox_head\.gfl_cls\.weight\), the model 80: check num_classes'
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(saved(tmp_path, state), model=target)
    assert torch.equal(target.bbox_head.gfl_cls.weight, before)


def test_missing_and_foreign_tensors_are_listed(tmp_path, repository):
    target = detector(repository)
    state = filled(target)
    del state['neck.fpn_convs.4.conv.bias']
    state['bbox_head.atss_centerness.weight'] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(saved(tmp_path, state), model=target)
    assert 'missing in the checkpoint: neck.fpn_convs.4.conv.bias' in str(caught.value)
    assert 'not in the model: bbox_head.atss_centerness.weight' in str(caught.value)


def test_averaging_buffers_and_odd_information_are_left_out(tmp_path):
    state = OrderedDict({'neck.a.weight': torch.ones(2), 'ema_neck_a_weight': torch.zeros(2)})
    path = saved(tmp_path, state, meta=dict(PALETTE=[(1, 2, 3)], note='x'))
    checkpoint, report = convert_checkpoint(path)
    assert list(checkpoint['state_dict']) == ['neck.a.weight'] and '1 buffers ema_*' in report.dropped[0]
    assert checkpoint['meta'] == dict(note='x', dataset_meta=dict(palette=[(1, 2, 3)]))


def test_averages_alone_are_the_weights():
    """A file with nothing but ``ema_*`` names is no model with averages beside it."""
    state = OrderedDict(ema_a=torch.zeros(2))
    assert _without_averages(state, ConversionReport()) is state


def test_classes_of_the_new_style_win_over_old_ones(tmp_path):
    meta = dict(CLASSES=('old',), dataset_meta=dict(classes=['new']), hook_msgs={}, thing=object, ema_config=None)
    report = ConversionReport()
    assert _clean_meta(meta, report) == dict(dataset_meta=dict(classes=('new',)), thing=None, ema_config=None)
    assert report.dropped == ['meta.thing: has no plain form: type'] or report.dropped == [
        'meta.thing: type: has no plain form'
    ]


def test_describe_counts():
    assert describe({}) == ['0 tensors, 0 numbers']
    conv = {'conv.conv_offset.weight': torch.zeros(12, 1, 3, 2), 'conv.weight': torch.zeros(2, 4, 3, 2)}
    odd = {'b.conv_offset.weight': torch.zeros(5, 1, 3, 3), 'b.weight': torch.zeros(1, 1, 3, 3)}
    assert describe({**conv, **odd})[:2] == ["1 deformable layers v1 ('DCN')", '1 deformable layers of 5 offset rows']
    assert describe({'conv.conv_offset.weight': torch.zeros(12, 1, 3, 2)}) == ['1 tensors, 72 numbers']


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_written_files_are_plain_and_complete(tmp_path, repository, suffix):
    model = detector(repository)
    state = filled(model)
    checkpoint, _ = convert_checkpoint(saved(tmp_path, state, meta=dict(CLASSES=CLASSES)))
    target = tmp_path / f'deep/out{suffix}'
    write_checkpoint(checkpoint, target)
    read = load_checkpoint_file(target)
    assert load_into(model, read['state_dict'], strict=True).exact
    assert all(torch.equal(read['state_dict'][key], value) for key, value in state.items())
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    if suffix == '.pth':
        raw = torch.load(target, weights_only=True)
        assert raw['meta']['dataset_meta']['classes'] == CLASSES


def test_tied_weights_are_written_twice(tmp_path):
    weight = torch.arange(4.0)
    write_checkpoint(dict(state_dict=dict(a=weight, b=weight.view(2, 2).t())), tmp_path / 'a.safetensors')
    state = load_checkpoint_file(tmp_path / 'a.safetensors')['state_dict']
    assert state['a'].tolist() == [0, 1, 2, 3] and state['b'].tolist() == [[0, 2], [1, 3]]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r'\.safetensors'):
        write_checkpoint(dict(state_dict={}), tmp_path / 'a.bin')


def test_publish(tmp_path):
    content = dict(meta=dict(epoch=1), optimizer=dict(a=torch.zeros(1000)), message_hub={})
    path = saved(tmp_path, OrderedDict(w=torch.arange(3.0)), **content)
    published = publish_checkpoint(path, tmp_path / 'gfl.pth')
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.name == f'gfl-{digest[:8]}.pth' and not (tmp_path / 'gfl.pth').exists()
    read = torch.load(published, weights_only=True)
    assert set(read) == {'meta', 'state_dict'} and read['meta'] == dict(epoch=1)
    # The same content has the same name.
    assert publish_checkpoint(path, tmp_path / 'again.pth').name == f'again-{digest[:8]}.pth'
    with pytest.raises(CheckpointError, match='state_dict'):
        publish_checkpoint(path, tmp_path / 'b.pth', keys=('meta',))


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_publishing_leaves_source_and_target_alone(tmp_path, suffix):
    source, old = tmp_path / f'gfl{suffix}', tmp_path / f'old{suffix}'
    write_checkpoint(dict(state_dict=OrderedDict(w=torch.arange(3.0)), meta=dict(epoch=1)), source)
    old.write_bytes(b'of somebody else')
    before = source.read_bytes()
    published = [publish_checkpoint(source, target) for target in (source, old)]
    assert source.read_bytes() == before and old.read_bytes() == b'of somebody else'
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in published]
    assert [path.name for path in published] == [f'gfl-{digests[0]}{suffix}', f'old-{digests[1]}{suffix}']
    assert sorted(tmp_path.iterdir()) == sorted([source, old, *published])


def test_keys_to_publish(tmp_path):
    path = saved(tmp_path, OrderedDict(w=torch.zeros(1)), optimizer=dict(lr=0.1), meta=dict(env_info='long', epoch=1))
    whole = publish_checkpoint(path, tmp_path / 'a.pth', keys=('state_dict', 'optimizer'))
    assert set(torch.load(whole)) == {'state_dict', 'optimizer'}
    with pytest.raises(
        CheckpointError, match=r"keys: must name state_dict, out of \['meta', 'optimizer', 'state_dict'\]"
    ):
        publish_checkpoint(path, tmp_path / 'b.pth', keys=('state_dict', 'ema'))
    lenient = publish_checkpoint(path, tmp_path / 'b.pth', keys=('meta', 'ema', 'state_dict'), lenient=True)
    assert torch.load(lenient)['meta'] == dict(epoch=1) and set(torch.load(lenient)) == {'meta', 'state_dict'}
    with pytest.raises(CheckpointError, match=r"must end in \.pth, \.pt or \.safetensors\. Received: '\.bin'"):
        publish_checkpoint(path, tmp_path / 'b.bin')


def test_joined_checkpoints(tmp_path):
    parts = []
    for name, value, classes in (
        ('coarse', 1.0, ('car', 'van')),
        ('fine', 2.0, ('car', 'van')),
        ('other', 3.0, ('bus',)),
    ):
        state = OrderedDict({'bbox_head.gfl_cls.weight': torch.full((2, 1, 3, 3), value)})
        parts.append(saved(tmp_path, state, f'{name}.pth', meta=dict(CLASSES=classes)))
    coarse, fine, other = parts
    lines = join_checkpoints(coarse, fine, tmp_path / 'joined.pth')
    assert lines[0] == 'coarse: GFL head, 2 classes' and lines[2] == 'fine: GFL head, 2 classes'
    joined = torch.load(tmp_path / 'joined.pth')
    assert {name: value.flatten()[0].item() for name, value in joined['state_dict'].items()} == {
        'coarse.detector.bbox_head.gfl_cls.weight': 1,
        'fine.detector.bbox_head.gfl_cls.weight': 2,
    }
    assert joined['meta'] == dict(dataset_meta=dict(classes=('car', 'van')))
    nameless = saved(tmp_path, torch.load(coarse)['state_dict'], 'nameless.pth')
    for one, two, classes in ((nameless, other, ('bus',)), (other, nameless, ('bus',)), (nameless, nameless, None)):
        join_checkpoints(one, two, tmp_path / 'b.pth')
        assert torch.load(tmp_path / 'b.pth')['meta'].get('dataset_meta', {}).get('classes') == classes
    with pytest.raises(CheckpointError, match=r'other\.pth: its classes are not those of .*coarse\.pth'):
        join_checkpoints(coarse, other, tmp_path / 'b.pth')
    join_checkpoints(coarse, other, tmp_path / 'b.pth', by_name=True)
    names = dict(dataset_meta=dict(classes=('bus',)), stage_classes=dict(coarse=('car', 'van'), fine=('bus',)))
    assert torch.load(tmp_path / 'b.pth')['meta'] == names
    with pytest.raises(CheckpointError, match=r'backbone\.pth: must be the checkpoint of one detector'):
        join_checkpoints(coarse, saved(tmp_path, dict(a=torch.zeros(1)), 'backbone.pth'), tmp_path / 'b.pth')
    of_transformers = saved(tmp_path, {'model.class_embed.weight': torch.zeros(2, 3)}, 'queries.pth')
    join_checkpoints(coarse, of_transformers, tmp_path / 'b.pth')
    assert 'fine.detector.model.class_embed.weight' in torch.load(tmp_path / 'b.pth')['state_dict']


def test_tools(tmp_path, repository, monkeypatch, capsys):
    state = OrderedDict({'bbox_head.distribution_project.project': torch.arange(17.0)})
    path = saved(tmp_path, state)

    def run(tool, *arguments):
        """Exit status, stdout, stderr."""
        script = repository / 'tools' / 'model_converters' / tool
        monkeypatch.setattr(sys, 'argv', [str(script), *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(script), run_name='__main__')
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    status, out, _ = run('upgrade_checkpoint.py', path, tmp_path / 'out.safetensors')
    assert status == 0
    assert 'renamed: bbox_head.distribution_project.project -> bbox_head.integral.project' in out
    status, out, _ = run('publish_model.py', path, tmp_path / 'out.pth')
    assert status == 0 and len(list(tmp_path.glob('out-????????.pth'))) == 1
    status, _, err = run('publish_model.py', tmp_path / 'none.pth', tmp_path / 'out.pth')
    assert status == 2 and 'no such checkpoint file' in err
