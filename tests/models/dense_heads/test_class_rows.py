"""Rows of classes that a head takes over from a checkpoint of other classes, for every family of heads."""

import pytest
import torch

from mmdet.models.dense_heads.class_rows import copy_class_rows, copy_proxies, proxies_of_classes
from mmdet.registry import MODELS

_SMALL = dict(in_channels=4, feat_channels=4, stacked_convs=1)
_NORM = dict(norm_cfg=None)
HEADS = {
    'GFLHead': dict(_SMALL, **_NORM, reg_max=2),
    'GFocalHead': dict(_SMALL, **_NORM, reg_max=4),
    'LDHead': dict(_SMALL, **_NORM, reg_max=2),
    'RetinaHead': _SMALL,
    'RetinaHead softmax': dict(_SMALL, loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False)),
    'ATSSHead': dict(_SMALL, **_NORM),
    'CenterNetHead': dict(in_channels=4, feat_channels=4),
    'CenterNetUpdateHead': dict(_SMALL, **_NORM),
    'FCOSHead': dict(_SMALL, **_NORM),
    'FoveaHead': dict(_SMALL, strides=[8, 16, 32, 64, 128]),
    'PAAHead': dict(_SMALL, **_NORM),
    'RepPointsHead': dict(_SMALL, point_feat_channels=4),
    'VFNetHead': dict(_SMALL, **_NORM),
    'TOODHead': dict(_SMALL, num_dcn=0, **_NORM),
    'RTMDetHead': dict(_SMALL, norm_cfg=dict(type='BN')),
    'RTMDetSepBNHead': dict(_SMALL, norm_cfg=dict(type='BN')),
    'RTMDetSepBNHead shared': dict(_SMALL, norm_cfg=dict(type='BN'), share_conv=False),
    'SSDHead': dict(
        in_channels=(4, 6),
        feat_channels=4,
        stacked_convs=1,
        anchor_generator=dict(
            type='SSDAnchorGenerator', strides=[8, 16], ratios=[[2], [2, 3]], min_sizes=[8, 16], max_sizes=[16, 32]
        ),
    ),
    'YOLOV3Head': dict(in_channels=(4, 4, 4), out_channels=(4, 4, 4)),
    'YOLOXHead': _SMALL,
}
PREDICTORS = dict(
    GFLHead='gfl_cls', GFocalHead='gfl_cls', LDHead='gfl_cls', RetinaHead='retina_cls', ATSSHead='atss_cls', FCOSHead='conv_cls', VFNetHead='vfnet_cls',
    TOODHead='tood_cls', CenterNetHead='heatmap_head.2', CenterNetUpdateHead='conv_cls', FoveaHead='conv_cls', PAAHead='atss_cls',
    RepPointsHead='reppoints_cls_out', RTMDetHead='rtm_cls', RTMDetSepBNHead='rtm_cls', SSDHead='cls_convs', YOLOV3Head='convs_pred',
    YOLOXHead='multi_level_conv_cls',
)  # fmt: skip


def build(name, num_classes, **options):
    kind = name.split()[0]
    head = MODELS.build(dict(type=kind, num_classes=num_classes, **HEADS.get(name, {}), **options))
    for number, parameter in enumerate(head.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(100 * num_classes + number))
    return head


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize(('old_count', 'sources'), [(3, (2, -1)), (2, (1, 0)), (3, (-1, 0, 1, -1)), (2, (-1, -1))])
def test_rows_of_equal_names_are_kept(name, old_count, sources):
    old, new = build(name, old_count), build(name, len(sources))
    state = {f'bbox_head.{key}': value for key, value in old.state_dict().items()}
    changed, left = new.take_class_rows(state, 'bbox_head.', sources, old_count)
    predictor = PREDICTORS[name.split()[0]]
    tensors = [key for key in new.state_dict() if key.startswith(f'{predictor}.') and 'conv.' not in key]
    assert tensors and not left and sorted(changed) == sorted(f'bbox_head.{key}' for key in tensors)
    for key in tensors:
        ssd = 4 if key.startswith('cls_convs.0') else 6
        priors = dict(RetinaHead=9, SSDHead=ssd, YOLOV3Head=3).get(name.split()[0], 1)
        before = 5 if name == 'YOLOV3Head' else 0  # rows of a box and its objectness
        found, own, stored = (
            values.unflatten(0, (priors, -1))
            for values in (state[f'bbox_head.{key}'], new.state_dict()[key], old.state_dict()[key])
        )
        for label, source in enumerate(sources):
            expected = own[:, before + label] if source < 0 else stored[:, before + source]
            assert torch.equal(found[:, before + label], expected), (key, label)
        assert torch.equal(found[:, :before], stored[:, :before])
        if 'softmax' in name or name == 'SSDHead':
            assert torch.equal(found[:, -1], stored[:, -1])
    new.load_state_dict({key.removeprefix('bbox_head.'): value for key, value in state.items()})


def test_a_checkpoint_with_one_channel_too_many():
    # GFLV2's own repository trains a channel of the background, which is dropped.
    stored = torch.arange(4.0)[:, None]  # three classes and the background
    assert copy_class_rows(torch.full((2, 1), 9.0), stored, (2, -1), 3).flatten().tolist() == [2, 9]
    assert copy_class_rows(torch.full((3, 1), 9.0), stored, (2, -1), 3).flatten().tolist() == [2, 9, 3]


@pytest.mark.parametrize('stored', [torch.zeros(5, 1), torch.zeros(3, 2), torch.zeros(3)])
def test_tensors_of_another_kind_of_head(stored):
    assert copy_class_rows(torch.zeros(2, 1), stored, (0, 1), 3) is None


@pytest.mark.parametrize(
    ('shares', 'counts'),
    [
        ([], []),
        ([1.0], [1]),
        ([0.5, 0.5, 1.0], [2, 1]),
        ([0.0, 0.0, 1.0, 0.0, 1.0], [3, 2]),
        ([0.3, 0.3], None),
        ([1 / 3] * 3 + [1.0], [3, 1]),
    ],
)
def test_counts_of_proxies(shares, counts):
    assert proxies_of_classes(torch.tensor(shares)) == counts


def test_proxies_of_classes_with_other_counts():
    stored = torch.tensor([1.0, 2, 3, 4, 5])  # a: 1, 2, 3; b: 4, 5
    assert copy_proxies(torch.full((3,), 9.0), stored, (2, 1), (3, 2), (0, -1)).tolist() == [2, 3, 9]
    assert copy_proxies(torch.full((5,), 9.0), stored, (1, 4), (3, 2), (1, 0)).tolist() == [5, 9, 1, 2, 3]


def test_multi_proxy_head():
    options = dict(_SMALL, **_NORM, reg_max=2, num_words=3)
    old, new = build('MPHead', 3, proxies_list=(1, 2, 3), **options), build('MPHead', 2, proxies_list=(3, 2), **options)
    old._pos_embedding_ptr.copy_(torch.tensor([1, 2, 0, 2]))
    state = dict(old.state_dict())
    changed, left = new.take_class_rows(state, '', (2, -1), 3)
    assert changed == ['proxies', '_proxies_prob', '_embedding', '_pos_embedding_ptr'] and not left
    assert torch.equal(state['proxies'], torch.cat([old.proxies[3:], new.proxies[3:]]).detach())
    assert state['_proxies_prob'].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.5, 0.5])
    assert torch.equal(state['_embedding'][[0, 2]], old._embedding[[2, 3]]) and torch.equal(
        state['_embedding'][1], new._embedding[1]
    )
    assert state['_pos_embedding_ptr'].tolist() == [0, 0, 2]
    new.load_state_dict(state)
