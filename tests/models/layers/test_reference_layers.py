"""Layers under the names of mmdetection 3.x; numbers of its release 3.3.0."""

import math

import pytest
import torch
from torch import nn

from mmdet.models.layers import (
    NormedLinear,
    ResLayer,
    SELayer,
    SimplifiedBasicBlock,
    SinePositionalEncoding,
    SinePositionalEncoding3D,
    coordinate_to_encoding,
    fast_nms,
    multiclass_nms,
)
from mmdet.models.layers.transformer import inverse_sigmoid

NMS = dict(type='nms', iou_threshold=0.5)
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
SCORES = torch.tensor([[0.9, 0.2, 0.0], [0.8, 0.6, 0.0], [0.3, 0.7, 1.0]])  # the last column is the background


def test_inverse_sigmoid():
    assert inverse_sigmoid(torch.tensor([-1, 0, 0.5, 1])).tolist() == pytest.approx(
        [-11.5129, -11.5129, 0, 11.5129], abs=1e-4
    )


def test_coordinates():
    point = coordinate_to_encoding(torch.tensor([[0.0, 0.25]]), num_feats=2)  # sine and cosine of y, then of x
    assert point.tolist() == [pytest.approx([1, 0, 0, 1], abs=1e-6)]
    golden = [0.951057, 0.309017, 0.125333, 0.992115, 0.012566, 0.999921, 0.001257, 0.999999]
    assert coordinate_to_encoding(torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), num_feats=8)[
        0, 0, :8
    ].tolist() == pytest.approx(golden, abs=1e-5)
    with pytest.raises(ValueError, match='coord_tensor'):
        coordinate_to_encoding(torch.zeros(1, 3))


def test_sine_positional_encoding():
    mask = torch.zeros(1, 2, 3, dtype=torch.bool)
    mask[0, :, 2] = True
    code = SinePositionalEncoding(2)(mask)[0]
    assert code[0, :, 0].tolist() == pytest.approx([math.sin(1), math.sin(2)])
    assert code[2, 0].tolist() == pytest.approx(
        [math.sin(1), math.sin(2), math.sin(2)]
    )  # the masked column has no place of its own
    assert torch.equal(
        SinePositionalEncoding(2)(None, torch.rand(1, 5, 2, 3)), SinePositionalEncoding(2)(~mask & False)
    )
    turn = SinePositionalEncoding(2, normalize=True)(mask)[0]
    assert turn[1, :, 0].tolist() == pytest.approx([-1, 1], abs=1e-5)  # cosines of half a turn and of one
    clip = SinePositionalEncoding3D(2)(mask[:, None].expand(-1, 4, -1, -1))[0]
    assert clip.shape == (4, 4, 2, 3)
    assert clip[1, 0, 0, 0].item() == pytest.approx(math.sin(1) + math.sin(2))
    assert repr(SinePositionalEncoding(4)) == (
        'SinePositionalEncoding(num_feats=4, temperature=10000, normalize=False, scale=6.283185307179586, eps=1e-06)'
    )
    with pytest.raises(AssertionError, match='scale'):
        SinePositionalEncoding(4, normalize=True, scale='big')


def test_normed_linear_sees_directions_only():
    layer = NormedLinear(2, 1, tempearture=10)
    assert layer.bias.tolist() == [0]
    layer.weight.data = torch.tensor([[3.0, 4]])
    assert layer(torch.tensor([[30.0, 40], [-0.4, 0.3]])).flatten().tolist() == pytest.approx([10, 0], abs=1e-4)


def test_squeeze_and_excitation():
    layer = SELayer(4, ratio=2, act_cfg=dict(type='ReLU'))
    assert sorted(layer.state_dict()) == [
        'conv1.conv.bias',
        'conv1.conv.weight',
        'conv2.conv.bias',
        'conv2.conv.weight',
    ]
    nn.init.ones_(layer.conv1.conv.weight), nn.init.zeros_(layer.conv1.conv.bias)
    nn.init.ones_(layer.conv2.conv.weight), nn.init.zeros_(layer.conv2.conv.bias)
    x = torch.ones(1, 4, 2, 2)
    assert torch.equal(layer(x), 8 * x)  # 4 means of 1 in each of 2 channels
    with pytest.raises(AssertionError, match='act_cfg'):
        SELayer(4, act_cfg=(dict(type='ReLU'),))


def test_simplified_basic_block_has_no_last_activation():
    block = SimplifiedBasicBlock(2, 2, norm_cfg=None)
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.bias, -3)
    assert block.norm1 is None and block(torch.zeros(1, 2, 3, 3)).eq(-3).all()
    layer = ResLayer(SimplifiedBasicBlock, 4, 8, 2, stride=2)
    assert layer(torch.zeros(1, 4, 6, 6)).shape == (1, 8, 3, 3) and '0.bn2.weight' in layer.state_dict()
    for options in (dict(dcn=dict(type='DCN')), dict(plugins=[]), dict(with_cp=True)):
        with pytest.raises(AssertionError, match='takes no'):
            SimplifiedBasicBlock(4, 4, **options)


def test_multiclass_nms_drops_the_background():
    dets, labels = multiclass_nms(BOXES[:0], SCORES[:0], 0.1, NMS)
    assert dets.shape == (0, 5) and labels.shape == (0,)
    dets, labels, places = multiclass_nms(BOXES, SCORES, 0.25, NMS, return_inds=True)
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.3])
    assert labels.tolist() == [0, 1, 1, 0] and places.tolist() == [0, 5, 3, 4]
    dets, labels = multiclass_nms(BOXES, SCORES, 0.25, NMS, 1, score_factors=torch.tensor([0.1, 1, 0.5]))
    assert dets[:, 4].tolist() == pytest.approx([0.8]) and labels.tolist() == [0]
    own = torch.cat([BOXES, BOXES + 100], dim=1)  # boxes of their own for each class
    dets, labels = multiclass_nms(own, SCORES, 0.65, NMS)
    assert dets[labels == 1][:, 0].tolist() == [120]


def test_fast_nms():
    assert [len(part) for part in fast_nms(BOXES[:0], SCORES[:0], torch.zeros(0, 2), 0.1, 0.5, 10)] == [0, 0, 0]
    dets, labels, vectors = fast_nms(BOXES, SCORES, torch.arange(3.0)[:, None], 0.25, 0.5, 10)
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.3])
    assert labels.tolist() == [0, 1, 1, 0] and vectors.flatten().tolist() == [0, 2, 1, 2]
    # A removed box still removes: 2 goes because of 1, which 0 removes.
    chain = torch.tensor([[0.0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]])
    scores = torch.tensor([[0.9, 0], [0.8, 0], [0.7, 0]])
    assert len(fast_nms(chain, scores, torch.zeros(3, 1), 0.1, 0.4, 10)[0]) == 1
    assert len(fast_nms(chain, scores, torch.zeros(3, 1), 0.1, 0.9, 10, max_num=2)[0]) == 2
