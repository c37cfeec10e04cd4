"""Layers of DETR and Deformable DETR; numbers of mmdetection 3.3.0 on weights and inputs by formula (its multi-scale attention by ``grid_sample``)."""

import pytest
import torch
from torch import nn

from mmdet.errors import ModelInputError
from mmdet.models.layers.transformer import (
    DeformableDetrTransformerDecoder,
    DeformableDetrTransformerEncoder,
    DetrTransformerDecoder,
    DetrTransformerDecoderLayer,
    DetrTransformerEncoder,
    DetrTransformerEncoderLayer,
    MultiScaleDeformableAttention,
)
from tests.reference_fill import fill_state_dict, statistics, tensor

B, Q, S, C, TOKENS = 2, 5, 7, 16, 26
ATTENTION = dict(embed_dims=C, num_heads=4, dropout=0.0)
FFN = dict(embed_dims=C, feedforward_channels=24, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
DEFORMABLE = dict(ATTENTION, num_levels=2)
ENCODER = dict(self_attn_cfg=ATTENTION, ffn_cfg=FFN)
DECODER = dict(self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FFN)


def padding(length, *spans):
    mask = torch.zeros(B, length, dtype=torch.bool)
    for start, end in spans:
        mask[1, start:end] = True
    return mask


def filled(model):
    model.load_state_dict(fill_state_dict(model.state_dict()))
    return model.eval()


def keys_and_values():
    return dict(
        key=tensor((B, S, C), 3), value=tensor((B, S, C), 4), query_pos=tensor((B, Q, C), 2), key_pos=tensor((B, S, C), 5),
        key_padding_mask=padding(S, (4, S)),
    )  # fmt: skip


def levels():
    return dict(
        spatial_shapes=torch.tensor([[4, 5], [2, 3]]), level_start_index=torch.tensor([0, 20]),
        valid_ratios=torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.75], [1.0, 0.5]]]),
        key_padding_mask=padding(TOKENS, (15, 20), (23, TOKENS)),
    )  # fmt: skip


def encoder():
    model = filled(DetrTransformerEncoder(2, ENCODER))
    return [model(tensor((B, Q, C), 1), query_pos=tensor((B, Q, C), 2), key_padding_mask=padding(Q, (3, Q)))]


def decoder(**options):
    model = filled(DetrTransformerDecoder(2, DECODER, **options))
    return [model(tensor((B, Q, C), 1), **keys_and_values())]


def masked_layer():
    between, to_keys = torch.zeros(Q, Q, dtype=torch.bool), torch.zeros(Q, S, dtype=torch.bool)
    between[0, 1] = to_keys[2, :3] = True
    model = filled(DetrTransformerDecoderLayer(**DECODER))
    return [model(tensor((B, Q, C), 1), self_attn_mask=between, cross_attn_mask=to_keys, **keys_and_values())]


def layer_without_keys():
    return [filled(DetrTransformerDecoderLayer(**DECODER))(tensor((B, Q, C), 1))]


def deformable_encoder(**options):
    model = filled(DeformableDetrTransformerEncoder(2, dict(ENCODER, self_attn_cfg=DEFORMABLE), **options))
    return [model(query=tensor((B, TOKENS, C), 1), query_pos=tensor((B, TOKENS, C), 2), **levels())]


def deformable_decoder(size, refined=False, **options):
    cfg = dict(DECODER, cross_attn_cfg=DEFORMABLE)
    model = filled(DeformableDetrTransformerDecoder(2, cfg, post_norm_cfg=None, **options))
    branches = filled(nn.ModuleList(nn.Linear(C, 4) for _ in range(2))) if refined else None
    points = tensor((B, Q, size), 6, scale=0.5, shift=0.5)
    inputs = dict(query=tensor((B, Q, C), 1), query_pos=tensor((B, Q, C), 2), value=tensor((B, TOKENS, C), 3))
    return model(**inputs, reference_points=points, reg_branches=branches, **levels())


# Shape, then mean, std, min, max, first and last of each output.
@pytest.mark.parametrize(
    ('run', 'expected'),
    [
        (encoder, [((2, 5, 16), (0.016958, 0.992825, -2.223341, 2.434724, 0.380921, -1.480823))]),
        (decoder, [((2, 2, 5, 16), (0.018804, 0.997324, -2.242762, 2.778087, 0.657799, 0.146419))]),
        (
            lambda: decoder(return_intermediate=False),
            [((1, 2, 5, 16), (0.015178, 0.999226, -2.242762, 2.778087, 0.237532, 0.146419))],
        ),
        (masked_layer, [((2, 5, 16), (0.013465, 0.997250, -2.139385, 2.268485, 0.788549, -0.242838))]),
        (layer_without_keys, [((2, 5, 16), (0.012560, 1.010952, -2.261370, 2.103764, -0.731215, -0.826275))]),
        (deformable_encoder, [((2, 26, 16), (-0.009268, 0.991736, -2.566927, 2.548202, -1.067063, 1.392866))]),
        (
            lambda: deformable_decoder(2),
            [
                ((2, 2, 5, 16), (-0.005187, 1.018969, -2.705312, 2.792763, -1.781973, 0.467135)),
                ((2, 2, 5, 2), (0.534581, 0.294198, 0.035332, 0.987378, 0.188825, 0.434273)),
            ],
        ),
        (
            lambda: deformable_decoder(2, refined=True),
            [
                ((2, 2, 5, 16), (-0.004853, 1.018289, -2.665852, 2.826856, -1.781973, 0.635188)),
                ((2, 2, 5, 4), (0.500183, 0.323436, 0.034159, 0.992394, 0.789879, 0.968487)),
            ],
        ),
        (
            lambda: deformable_decoder(4, refined=True),
            [
                ((2, 2, 5, 16), (-0.005562, 1.018291, -2.646021, 2.586119, -1.782489, 0.702017)),
                ((2, 2, 5, 4), (0.488946, 0.353361, 0.001220, 0.999707, 0.780211, 0.996458)),
            ],
        ),
        (
            lambda: deformable_decoder(4, return_intermediate=False),
            [
                ((2, 5, 16), (0.000455, 1.031968, -2.761362, 2.300691, -0.505340, 0.656959)),
                ((2, 5, 4), (0.504442, 0.304108, 0.021321, 0.995666, 0.188825, 0.903787)),
            ],
        ),
    ],
)
def test_outputs(run, expected):
    for output, (shape, row) in zip(run(), expected, strict=True):
        assert tuple(output.shape) == shape
        assert statistics(output) == pytest.approx(row, abs=1e-5)


def test_recomputed_layers_give_the_same():
    torch.testing.assert_close(deformable_encoder(num_cp=2), deformable_encoder())


def test_attention_of_sequences_that_begin_with_their_length():
    attention = MultiScaleDeformableAttention(**DEFORMABLE)
    nn.init.normal_(attention.sampling_offsets.weight)
    query, value = torch.rand(B, Q, C), torch.rand(B, TOKENS, C)
    inputs = dict(reference_points=torch.rand(B, Q, 2, 2), spatial_shapes=torch.tensor([[4, 5], [2, 3]]))
    other = attention.eval()(query.transpose(0, 1), value=value.transpose(0, 1), **inputs).transpose(0, 1)
    attention.batch_first = True
    torch.testing.assert_close(attention(query, value=value, **inputs), other)
    # A wholly padded map adds the bias of the last projection to the query.
    none = attention(query, value=value, key_padding_mask=torch.ones(B, TOKENS, dtype=torch.bool), **inputs)
    torch.testing.assert_close(none, query + attention.output_proj.bias)


@pytest.mark.parametrize(
    ('build', 'error', 'text'),
    [
        (lambda: DetrTransformerEncoder(1, ENCODER, num_cp=2), AssertionError, 'num_cp'),
        (lambda: DetrTransformerEncoderLayer(dict(ATTENTION, batch_first=False)), AssertionError, 'batch_first'),
        (lambda: DeformableDetrTransformerDecoder(1, DECODER), ValueError, 'post_norm_cfg'),
        (lambda: deformable_decoder(3), ModelInputError, 'reference_points'),
        (lambda: MultiScaleDeformableAttention()(torch.zeros(1, 1, 256)), ModelInputError, 'spatial_shapes'),
    ],
)
def test_arguments_that_cannot_be(build, error, text):
    with pytest.raises(error, match=text):
        build()
