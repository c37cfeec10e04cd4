from collections import OrderedDict

import pytest
import torch
from mmengine.model import BaseTTAModel
from torch import nn

from mmdet.engine import load_into, rename_reference_keys
from mmdet.engine.checkpoint import LoadReport, compare, unwrap
from mmdet.errors import CheckpointError


def test_rename_nothing():
    state = OrderedDict([('backbone.conv1.weight', torch.zeros(1)), ('bbox_head.integral.project', torch.zeros(17))])
    renamed, changes = rename_reference_keys(state)
    assert list(renamed) == list(state) and changes == []


@pytest.mark.parametrize('rows', [18, 27])
def test_rename_reference_names(rows):
    state = OrderedDict(
        [
            ('module.backbone.layer2.0.conv2.weight', torch.zeros(4, 4, 3, 3)),
            ('module.backbone.layer2.0.conv2_offset.weight', torch.zeros(rows, 4, 3, 3)),
            ('module.backbone.layer2.0.conv2_offset.bias', torch.zeros(rows)),
            ('module.backbone.layer3.0.convs.0.weight', torch.zeros(4, 4, 3, 3)),
            ('module.backbone.layer3.0.convs.0.conv_offset.weight', torch.zeros(rows, 4, 3, 3)),
            ('module.bbox_head.distribution_project.project', torch.zeros(17)),
        ]
    )
    state._metadata = OrderedDict({'': dict(version=1)})
    renamed, changes = rename_reference_keys(state)
    assert list(renamed) == [
        'backbone.layer2.0.conv2.weight',
        'backbone.layer2.0.conv2.conv_offset.weight',
        'backbone.layer2.0.conv2.conv_offset.bias',
        'backbone.layer3.0.convs.0.weight',
        'backbone.layer3.0.convs.0.conv_offset.weight',
        'bbox_head.integral.project',
    ]
    assert (
        len(changes) == 6 and renamed._metadata == state._metadata and 'module.backbone.layer2.0.conv2.weight' in state
    )


def test_rpn_head_is_renamed_only_alone():
    assert list(rename_reference_keys({'rpn_head.a': torch.zeros(1)})[0]) == ['bbox_head.a']
    two = {'rpn_head.a': torch.zeros(1), 'bbox_head.b': torch.zeros(1)}
    assert list(rename_reference_keys(two)[0]) == list(two)


# -- loading ---------------------------------------------------------------------------------------


class Detector(nn.Module):
    def __init__(self, num_classes=80):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.gfl_cls = nn.Conv2d(4, num_classes, 3)
        self.bn = nn.BatchNorm2d(2)


def test_load_into_exact():
    source, target = Detector(), Detector()
    state = {f'module.{name}': value for name, value in source.state_dict().items() if 'num_batches' not in name}
    report = load_into(nn.DataParallel(target), state, strict=True)
    assert report.exact and report.loaded == len(state) and len(report.renamed) == len(state)
    assert all(torch.equal(source.state_dict()[name], value) for name, value in target.state_dict().items())


@pytest.mark.parametrize('wrap', [BaseTTAModel, nn.DataParallel])
def test_wrappers_are_unwrapped(wrap):
    """Also one in the other: a test with several views by several processes."""
    source, target = Detector(), Detector()
    target.test_step = lambda data: data
    tta = type('Views', (BaseTTAModel,), dict(merge_preds=lambda self, predictions: predictions))
    wrapped = tta(module=target) if wrap is BaseTTAModel else nn.DataParallel(target)
    for model in (wrapped, nn.DataParallel(wrapped)):
        nn.init.zeros_(target.backbone.weight)
        assert unwrap(model) is target and load_into(model, source.state_dict(), strict=True).exact
        assert torch.equal(target.backbone.weight, source.backbone.weight)
    assert unwrap(target) is target


def test_before_loading_sees_the_renamed_weights_and_gives_those_to_load():
    target = nn.Linear(2, 1, bias=False)
    state = OrderedDict({'module.weight': torch.zeros(1, 2)})
    state._metadata = OrderedDict({'': dict(version=1)})
    seen = []

    def swap(renamed):
        seen.append((list(renamed), renamed._metadata))
        renamed['weight'] = torch.ones(1, 2)
        return renamed

    report = load_into(target, state, strict=True, before_loading=swap)
    assert seen == [(['weight'], state._metadata)] and target.weight.tolist() == [[1, 1]] and report.loaded == 1
    with pytest.raises(CheckpointError, match='no tensor of the checkpoint fits'):
        load_into(target, {'other': torch.zeros(1)}, before_loading=pytest.fail)
    with pytest.raises(CheckpointError, match='does not fit the model'):
        load_into(target, {'weight': torch.zeros(2, 2)}, strict=True, before_loading=pytest.fail)


def test_compare_counts_each_name_once():
    model = Detector(2)
    state = model.state_dict()
    assert compare(model, state, strict=True).loaded == len(state) == 9
    del state['bn.num_batches_tracked'], state['bn.bias']
    state['extra'], state['gfl_cls.bias'] = torch.zeros(1), torch.zeros(3)
    report = compare(model, state)
    assert (report.loaded, report.missing, report.unexpected) == (6, ['bn.bias'], ['extra'])
    assert report.mismatched == [('gfl_cls.bias', (3,), (2,))] and not report.complete and not report.exact
    report.missing, report.mismatched = [], []
    assert report.complete and not report.exact


def test_long_lists_are_cut():
    report = LoadReport(missing=[str(i) for i in range(41)], unexpected=[str(i) for i in range(42)])
    lines = report.lines()
    assert len(lines) == 81 and lines[-1] == '... and 3 more' and lines[39] == 'missing in the checkpoint: 39'


def test_a_class_count_is_explained_for_the_class_layer_only():
    report = LoadReport(mismatched=[('head.reg.weight', (8, 2), (4, 2)), ('head.cls.weight', (8, 3), (4, 2))])
    assert all('class channels' not in line for line in report.lines())
    report = LoadReport(mismatched=[('head.cls.weight', (8, 2), (4, 2))])
    assert 'the checkpoint has 8 class channels (head.cls.weight), the model 4' in report.lines()[0]


@pytest.mark.parametrize(
    ('name', 'explained'),
    [
        ('model.class_embed.1.weight', True),  # D-FINE, RT-DETR
        ('model.class_labels_classifier.layers.2.weight', True),  # YOLOS
        ('model.model.enc_out_class_embed.0.weight', True),  # RF-DETR
        ('model.model.denoising_class_embed.weight', False),
        ('model.class_embed.1.bias', False),
        ('backbone.cls_token', False),
    ],
)
def test_class_layers_of_the_library_transformers(name, explained):
    lines = LoadReport(mismatched=[(name, (8, 2), (4, 2)), (name, (8, 2), (4, 2))]).lines()
    assert ['class channels' in line for line in lines] == [True] * explained + [False] * 2


def test_mismatch_is_listed_with_both_shapes_and_nothing_is_loaded():
    source, target = Detector(20), Detector(80)
    before = target.backbone.weight.clone()
    state = source.state_dict()
    state['extra.weight'] = torch.zeros(1)
    del state['bn.bias']
    with pytest.raises(CheckpointError) as caught:
        load_into(target, state, strict=True)
    text = str(caught.value)
    assert 'the checkpoint has 20 class channels (gfl_cls.weight), the model 80' in text
    assert 'gfl_cls.bias: checkpoint (20,), model (80,)' in text
    assert 'missing in the checkpoint: bn.bias' in text and 'not in the model: extra.weight' in text
    assert torch.equal(target.backbone.weight, before)


def test_load_into_not_strict_loads_the_rest():
    source, target = Detector(20), Detector(80)
    report = load_into(target, source.state_dict())
    assert [name for name, *_ in report.mismatched] == ['gfl_cls.weight', 'gfl_cls.bias']
    assert torch.equal(target.backbone.weight, source.backbone.weight) and not report.complete
    with pytest.raises(CheckpointError, match='class channels'):
        load_into(target, source.state_dict(), complete=True)
    state = Detector().state_dict()
    state['fc.weight'] = torch.zeros(1)
    assert load_into(target, state, complete=True).unexpected == ['fc.weight']


def test_nothing_in_common_is_an_error():
    with pytest.raises(CheckpointError, match='no tensor of the checkpoint fits'):
        load_into(Detector(), {'a.b': torch.zeros(1)})


def test_modules_may_adapt_the_checkpoint():
    class Head(nn.Linear):
        def adapt_state_dict(self, state_dict, prefix):
            state_dict[f'{prefix}weight'] = state_dict[f'{prefix}weight'][: self.out_features]
            return [f'{prefix}weight cut']

    model = nn.Sequential(Head(2, 3, bias=False))
    state = {'0.weight': torch.ones(4, 2)}
    report = load_into(model, state, strict=True)
    assert report.notes == ['0.weight cut'] and state['0.weight'].shape == (4, 2)
