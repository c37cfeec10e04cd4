"""ViT-Adapter: the published model's numbers, its parts by their formulae, loading, training, optimizer rules."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from mmdet.engine.layer_decay import GroupedOptimWrapperConstructor, LayerDecayOptimizerConstructor
from mmdet.errors import CheckpointError, ConfigError, ModelInputError
from mmdet.models.backbones.vit import Mlp, ViTBlock, WindowAttention, WindowedViT, load_vit_weights, resize_pos_embed
from mmdet.models.backbones.vit_adapter import AdapterBatchNorm, ViTAdapter, _cached_geometry, adapter_geometry
from mmdet.registry import MODELS
from tests.devices import tolerance
from tests.reference_fill import fill_state_dict, statistics, tensor
from tests.reference_keys import reference_keys

CONFIG = 'configs/vit_adapter/gfl_deit_adapter_small_fpn_3x_coco.py'
# Twelve channels of everything: the structure of the published model, small enough to train in a test.
TINY = dict(
    pretrain_size=32,
    embed_dim=12,
    depth=4,
    num_heads=2,
    conv_inplane=4,
    deform_num_heads=3,
    interaction_indexes=[[0, 1], [2, 3]],
    window_attn=[True, False] * 2,
    window_size=[3, None] * 2,
)


def tiny(**changes) -> ViTAdapter:
    torch.manual_seed(0)
    return ViTAdapter(**{**TINY, **changes})


@pytest.fixture(scope='module')
def published(repository) -> ViTAdapter:
    """The backbone of the config, not initialised."""
    config = Config.fromfile(repository / CONFIG).model.backbone
    return MODELS.build(dict(config, init_cfg=None))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# The published model


def test_parameter_counts(published):
    assert parameters(published) == 27_503_888
    parts = dict(blocks=21_302_784, interactions=3_928_272, spm=1_307_456, up=590_208, patch_embed=295_296)
    assert {name: parameters(getattr(published, name)) for name in parts} == parts
    assert len(list(published.parameters())) == 380 and len(published.state_dict()) == 410


def test_detector_parameter_count(repository):
    model = Config.fromfile(repository / CONFIG).model
    model.backbone.init_cfg = None
    detector = MODELS.build(model)
    assert parameters(detector) == 35_813_801
    assert len(detector.state_dict()) == 460


@pytest.mark.parametrize(
    ('settings', 'count'),
    [
        (dict(embed_dim=192, num_heads=3), 7_966_640),
        (dict(embed_dim=768, num_heads=12, deform_num_heads=12, deform_ratio=0.5), 99_495_392),
    ],
)
def test_parameter_counts_of_other_sizes(settings, count):
    with torch.device('meta'):
        assert parameters(ViTAdapter(**settings)) == count


# Mean, std, min, max, first, last of the outputs for 1 x 3 x 64 x 96, measured with the original code on CPU.
ROWS = [
    ((16, 24), (-0.2591856, 3.2864100, -21.1169224, 18.7984695, -5.5257316, -3.9047692)),
    ((8, 12), (-0.1741294, 3.7947693, -21.0005360, 17.2700443, -14.2554674, -3.9958115)),
    ((4, 6), (-0.0752349, 4.0448362, -15.3810329, 16.5851803, -9.5187140, -4.1235642)),
    ((2, 3), (-0.1536419, 3.4128808, -12.6857548, 12.5882387, -8.0854998, -3.8449252)),
]


def test_names_and_outputs_of_the_original(published):
    state = published.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == reference_keys('vit_adapter_s')
    published.load_state_dict(fill_state_dict(state))
    published.eval()
    with torch.inference_mode():
        outputs = published(tensor((1, 3, 64, 96), 7, scale=2.0))
    for output, (size_hw, expected) in zip(outputs, ROWS, strict=True):
        assert tuple(output.shape) == (1, 384, *size_hw)
        assert statistics(output) == pytest.approx(expected, rel=1e-4, abs=2e-5)


# Inputs


@pytest.mark.parametrize('size_hw', [(32, 64), (64, 32), (96, 160)])
@pytest.mark.parametrize('training', [False, True])
def test_any_multiple_of_32(size_hw, training):
    h, w = size_hw
    outputs = tiny(drop_path_rate=0.2).train(training)(torch.randn(1, 3, h, w))
    assert [tuple(output.shape) for output in outputs] == [(1, 12, h // s, w // s) for s in (4, 8, 16, 32)]
    assert all(output.isfinite().all() for output in outputs)


@pytest.mark.parametrize('shape', [(1, 3, 0, 32), (1, 3, 240, 240), (1, 3, 32, 48), (3, 32, 32)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ModelInputError, match='multiples of 32'):
        tiny()(torch.zeros(shape))


def test_single_cell_trains_not_but_evaluates():
    backbone, image = tiny(), torch.randn(1, 3, 32, 32)
    with pytest.raises(ModelInputError, match='more than one value per channel'):
        backbone(image)
    assert backbone.eval()(image)[3].shape == (1, 12, 1, 1)


def test_images_of_a_batch_do_not_mix():
    backbone, images = tiny().eval(), torch.randn(2, 3, 32, 64)
    together = backbone(images)
    for b in range(2):
        for output, alone in zip(together, backbone(images[b : b + 1])):
            torch.testing.assert_close(output[b : b + 1], alone, rtol=1e-4, atol=1e-5)


def test_out_indices_leave_the_other_outputs_alone():
    image = torch.randn(1, 3, 64, 64)
    complete, partial = tiny().eval(), tiny(out_indices=(1, 2, 3)).eval()
    partial.load_state_dict(complete.state_dict())
    for expected, output in zip(complete(image)[1:], partial(image), strict=True):
        assert torch.equal(expected, output)


def test_reference_points():
    geometry = adapter_geometry(2, 4, torch.device('cpu'))
    assert geometry.pyramid_shapes == ((4, 8), (2, 4), (1, 2))
    assert geometry.patch_points[0, :5, 0].tolist() == [
        [0.125, 0.25],
        [0.375, 0.25],
        [0.625, 0.25],
        [0.875, 0.25],
        [0.125, 0.75],
    ]
    assert geometry.pyramid_points.shape == (1, 42, 1, 2)
    assert geometry.pyramid_points[0, -2:, 0].tolist() == [[0.25, 0.5], [0.75, 0.5]]


# Parts


def test_window_attention_pads_after_the_projection():
    """A 2 x 3 grid in windows of 2: the right window holds one column of padding, keys and values of zero."""
    torch.manual_seed(0)
    attention = WindowAttention(dim=4, num_heads=2, window_size=2)
    x = torch.randn(1, 6, 4)
    qkv = torch.cat((attention.qkv(x).view(2, 3, 12), torch.zeros(2, 1, 12)), dim=1)
    expected = torch.empty(2, 4, 4)
    for columns in (slice(0, 2), slice(2, 4)):
        q, k, v = qkv[:, columns].reshape(4, 3, 2, 2).permute(1, 2, 0, 3)  # (M, tokens, D)
        out = (q @ k.transpose(1, 2) * 2**-0.5).softmax(-1) @ v
        expected[:, columns] = out.transpose(0, 1).reshape(2, 2, 4)
    expected = attention.proj(expected[:, :3].reshape(1, 6, 4))
    torch.testing.assert_close(attention(x, (2, 3)), expected)


def test_windows_in_two_directions():
    """A 3 x 5 grid in windows of 2, batch of 2: each token sees the tokens of its own window, and zeros for what is missing."""
    torch.manual_seed(0)
    attention = WindowAttention(dim=4, num_heads=2, window_size=2)
    x = torch.randn(2, 15, 4)
    q, k, v = attention.qkv(x).view(2, 15, 3, 2, 2).permute(2, 0, 3, 1, 4)  # (3, B, M, N, D)
    token = torch.arange(15)
    window = token // 5 // 2 * 3 + token % 5 // 2
    logits = (q @ k.transpose(-1, -2) * 2**-0.5).exp() * (window[:, None] == window)
    missing = 4 - (window[:, None] == window).sum(1)  # keys of zeros: exp(0) each
    out = logits @ v / (logits.sum(-1) + missing)[..., None]
    torch.testing.assert_close(attention(x, (3, 5)), attention.proj(out.transpose(1, 2).flatten(2)))


def test_dropout_of_attention_and_projections_acts_in_training_only():
    x = torch.randn(1, 16, 4)
    for options in (dict(attn_drop=1.0), dict(proj_drop=1.0)):
        attention = WindowAttention(dim=4, num_heads=2, **options)
        nothing = attention.proj.bias if 'attn_drop' in options else torch.zeros(4)
        torch.testing.assert_close(attention(x, (4, 4)), nothing.expand(1, 16, 4))
        plain = WindowAttention(dim=4, num_heads=2)
        plain.load_state_dict(attention.state_dict())
        torch.testing.assert_close(attention.eval()(x, (4, 4)), plain(x, (4, 4)))
    mlp = Mlp(dim=4, hidden_dim=8, drop=1.0)
    assert not mlp(x).any() and mlp.eval()(x).any()
    assert attention.qkv.bias is not None and WindowAttention(dim=4, num_heads=2, qkv_bias=False).qkv.bias is None


@pytest.mark.parametrize('layer_scale', [False, True])
def test_block_by_its_formula(layer_scale):
    torch.manual_seed(0)
    block, x = ViTBlock(dim=4, num_heads=2, mlp_ratio=1.5, layer_scale=layer_scale), torch.randn(2, 6, 4)
    scales = (1, 1)
    if layer_scale:
        assert block.gamma1.tolist() == block.gamma2.tolist() == [1, 1, 1, 1]
        block.gamma1.data, block.gamma2.data = scales = torch.rand(4), torch.rand(4)
    y = x + scales[0] * block.attn(F.layer_norm(x, (4,), eps=1e-6), (2, 3))
    assert block.mlp.fc1.out_features == 6
    hidden = F.gelu(block.mlp.fc1(F.layer_norm(y, (4,), eps=1e-6)))
    torch.testing.assert_close(block(x, (2, 3)), y + scales[1] * block.mlp.fc2(hidden))


def test_drop_path_drops_whole_samples_of_a_branch():
    torch.manual_seed(0)
    block, x = ViTBlock(dim=4, num_heads=2, drop_path=0.5), torch.randn(64, 6, 4)
    nn.init.zeros_(block.mlp.fc2.weight), nn.init.zeros_(block.mlp.fc2.bias)
    kept = (block(x, (2, 3)) - x) / (block.eval()(x, (2, 3)) - x)  # 0, or 1 / (1 - 0.5)
    assert {round(value, 2) for value in kept.flatten().tolist()} == {0.0, 2.0}
    assert all(sample.min() > 1.9 or sample.max() < 0.1 for sample in kept)


def test_one_window_equals_global_attention():
    torch.manual_seed(0)
    windowed = WindowAttention(dim=8, num_heads=2, window_size=4)
    everywhere = WindowAttention(dim=8, num_heads=2)
    everywhere.load_state_dict(windowed.state_dict())
    x = torch.randn(2, 16, 8)
    torch.testing.assert_close(windowed(x, (4, 4)), everywhere(x, (4, 4)))


def test_position_table():
    table = torch.randn(1, 5, 3)
    assert resize_pos_embed(table, (2, 2)) is table
    resized = resize_pos_embed(table, (4, 6))
    assert resized.shape == (1, 25, 3) and torch.equal(resized[:, 0], table[:, 0])
    constant = resize_pos_embed(torch.full((1, 5, 3), 7.0), (3, 5))
    torch.testing.assert_close(constant, torch.full((1, 16, 3), 7.0))
    # A table that numbers its rows: 2 rows become 4, every one of 3 columns the same.
    rows = torch.tensor([9.0, 0, 0, 1, 1]).view(1, 5, 1)
    grid = resize_pos_embed(rows, (4, 3))[0, 1:, 0].view(4, 3)
    assert grid[:, 0].tolist() == pytest.approx([-0.10546875, 0.2265625, 0.7734375, 1.10546875])
    torch.testing.assert_close(grid, grid[:, :1].expand(4, 3))
    for length in (1, 4, 0):
        with pytest.raises(CheckpointError, match='square grid'):
            resize_pos_embed(torch.zeros(1, length, 3), (2, 2))


@pytest.mark.parametrize('deterministic', [False, True])
def test_resized_positions_and_their_gradient(device, deterministic):
    """On a GPU, deterministic algorithms need another way to the same numbers."""
    torch.manual_seed(0)
    table, results = torch.randn(1, 26, 3), []
    for place in ('cpu', device):
        there = table.to(place).detach().requires_grad_()
        torch.use_deterministic_algorithms(deterministic)
        try:
            resized = resize_pos_embed(there, (8, 3))
            resized.square().sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)
        results.append((resized, there.grad))
    for expected, received in zip(*results):
        torch.testing.assert_close(received.cpu(), expected, **tolerance(device, rtol=1e-5, atol=1e-5))


def test_plain_vit_has_one_output():
    vit = WindowedViT(pretrain_size=32, embed_dim=8, depth=2, num_heads=2, window_attn=True, window_size=2)
    assert [output.shape for output in vit(torch.randn(1, 3, 48, 32))] == [(1, 8, 3, 2)]
    with pytest.raises(ModelInputError, match='multiples of 16'):
        vit(torch.zeros(1, 3, 40, 32))


def test_tokens_of_the_plain_vit():
    """Row after row, each with the position of its own cell, through the blocks in order."""
    vit = WindowedViT(pretrain_size=8, patch_size=4, embed_dim=4, depth=3, num_heads=2).eval()
    image = torch.randn(2, 3, 8, 12)
    tokens, grid_hw = vit.embed_patches(image)
    assert grid_hw == (2, 3) and tokens.shape == (2, 6, 4)
    patch = (vit.patch_embed.proj.weight * image[1, :, 4:8, 0:4]).sum((1, 2, 3)) + vit.patch_embed.proj.bias
    torch.testing.assert_close(tokens[1, 3], patch + resize_pos_embed(vit.pos_embed, (2, 3))[0, 1 + 3])
    for block in vit.blocks:
        tokens = block(tokens, grid_hw)
    torch.testing.assert_close(vit(image)[0][0, :, 1, 2], tokens[0, 5])


def test_windows_of_each_block():
    vit = WindowedViT(
        pretrain_size=16, embed_dim=4, depth=3, num_heads=2, window_attn=[True, False, True], window_size=[2, 5, 7]
    )
    assert [block.attn.window_size for block in vit.blocks] == [2, None, 7]
    vit = WindowedViT(pretrain_size=16, embed_dim=4, depth=2, num_heads=2, window_attn=True)
    assert [block.attn.window_size for block in vit.blocks] == [14, 14]


def test_rates_reach_their_layers():
    vit = WindowedViT(
        pretrain_size=16, embed_dim=4, depth=2, num_heads=2, drop_rate=0.1, attn_drop_rate=0.2, qkv_bias=False,
        layer_scale=False, mlp_ratio=3, with_cp=True,
    )  # fmt: skip
    block = vit.blocks[1]
    assert (vit.pos_drop.p, block.attn.proj_drop.p, block.mlp.drop.p, block.attn.attn_drop) == (0.1, 0.1, 0.1, 0.2)
    assert (block.attn.qkv.bias, block.gamma1, block.mlp.fc1.out_features, block.with_cp) == (None, None, 12, True)


def test_injectors_start_without_effect():
    """gamma is 0: the transformer's tokens are those of the plain ViT."""
    backbone, image = tiny().eval(), torch.randn(1, 3, 64, 64)
    vit = WindowedViT(**{name: value for name, value in TINY.items() if name in (
        'pretrain_size', 'embed_dim', 'depth', 'num_heads', 'window_attn', 'window_size')})  # fmt: skip
    vit.load_state_dict(backbone.state_dict(), strict=False)
    with_vit = backbone(image)[2]
    backbone.add_vit_feature = False
    scale = (backbone.norm3.running_var + backbone.norm3.eps).rsqrt().view(1, -1, 1, 1)
    torch.testing.assert_close((with_vit - backbone(image)[2]) / scale, vit(image)[0], rtol=1e-4, atol=1e-5)


def test_injector_and_extractor_by_their_formulas():
    torch.manual_seed(0)
    backbone, geometry = tiny(init_values=0.5).eval(), adapter_geometry(2, 4, torch.device('cpu'))
    x, c = torch.randn(1, 8, 12), torch.randn(1, 42, 12)

    def norm(values):
        return F.layer_norm(values, (12,), eps=1e-6)

    injector, extractor = backbone.interactions[0].injector, backbone.interactions[0].extractor
    assert injector.gamma.tolist() == [0.5] * 12
    attended = injector.attn(norm(x), geometry.patch_points, norm(c), geometry.pyramid_shapes)
    torch.testing.assert_close(injector(x, c, geometry), x + 0.5 * attended)

    y = c + extractor.attn(norm(c), geometry.pyramid_points, norm(x), geometry.patch_shapes)
    hidden = extractor.ffn.fc1(norm(y))
    assert hidden.shape[-1] == 3
    depthwise = extractor.ffn.dwconv.dwconv
    levels = [level.transpose(1, 2).reshape(1, 3, h, w) for level, (h, w) in
              zip(hidden.split([32, 8, 2], 1), geometry.pyramid_shapes)]  # fmt: skip
    hidden = torch.cat([depthwise(level).flatten(2).transpose(1, 2) for level in levels], 1)
    torch.testing.assert_close(extractor(c, x, geometry), y + extractor.ffn.fc2(F.gelu(hidden)))
    extractor.with_cffn = False
    torch.testing.assert_close(extractor(c, x, geometry), y)


def test_interactions_hold_their_blocks_and_extractors():
    backbone = tiny(interaction_indexes=[[0, 0], [1, 3]])
    calls = []
    for i, block in enumerate(backbone.blocks):
        block.register_forward_pre_hook(lambda *_, i=i: calls.append(f'block {i}'))
    for i, interaction in enumerate(backbone.interactions):
        interaction.injector.register_forward_pre_hook(lambda *_, i=i: calls.append(f'in {i}'))
        for extractor in (interaction.extractor, *interaction.extra_extractors):
            extractor.register_forward_pre_hook(lambda *_, i=i: calls.append(f'out {i}'))
    backbone.eval()(torch.randn(1, 3, 32, 64))
    expected = 'in 0, block 0, out 0, in 1, block 1, block 2, block 3, out 1, out 1, out 1'
    assert calls == expected.split(', ')
    assert len(tiny(use_extra_extractor=False).interactions[1].extra_extractors) == 0


def test_outputs_come_in_the_order_of_out_indices():
    image, complete = torch.randn(1, 3, 32, 64), tiny().eval()
    swapped = tiny(out_indices=(3, 0)).eval()
    swapped.load_state_dict(complete.state_dict())
    outputs = complete(image)
    for found, expected in zip(swapped(image), (outputs[3], outputs[0]), strict=True):
        assert torch.equal(found, expected)


def test_without_the_transformer_s_features():
    """What add_vit_feature adds is the stride-16 map, resized, before the norms."""
    backbone, image = tiny().eval(), torch.randn(1, 3, 64, 96)
    vit = WindowedViT(**{name: value for name, value in TINY.items() if name in (
        'pretrain_size', 'embed_dim', 'depth', 'num_heads', 'window_attn', 'window_size')}).eval()  # fmt: skip
    vit.load_state_dict(backbone.state_dict(), strict=False)
    added, (vit_map,) = backbone(image), vit(image)
    backbone.add_vit_feature = False
    for i, (with_vit, without) in enumerate(zip(added, backbone(image))):
        resized = F.interpolate(vit_map, size=with_vit.shape[-2:], mode='bilinear', align_corners=False)
        # The norms are as they start: mean 0, variance 1.
        torch.testing.assert_close(with_vit - without, resized / (1 + 1e-5) ** 0.5, rtol=1e-4, atol=1e-5, msg=str(i))


def test_drop_path_rates():
    backbone = tiny(drop_path_rate=0.3)
    rates = [getattr(block.drop_path, 'drop_prob', 0.0) for block in backbone.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    extractors = [backbone.interactions[0].extractor, *backbone.interactions[1].extra_extractors]
    assert [extractor.drop_path.drop_prob for extractor in extractors] == [0.3, 0.3, 0.3]


def test_batch_norm_runs_on_cpu_beside_a_process_group(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        x = torch.randn(2, 3, 4, 4)
        norm, plain = AdapterBatchNorm(3), nn.BatchNorm2d(3)
        torch.testing.assert_close(norm(x), plain(x))
        assert norm.state_dict().keys() == plain.state_dict().keys()
        torch.testing.assert_close(norm.running_var, plain.running_var)
    finally:
        torch.distributed.destroy_process_group()


# Training


def test_gradients_reach_every_parameter_and_checkpointing_changes_none():
    image = torch.randn(2, 3, 64, 64)
    gradients = []
    for with_cp in (False, True):
        backbone = tiny(with_cp=with_cp, init_values=0.5, drop_path_rate=0.5)
        torch.manual_seed(1)  # the recomputed blocks must drop the same samples
        sum(output.relu().mean() for output in backbone(image)).backward()
        missing = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
        assert missing == []
        gradients.append({name: parameter.grad for name, parameter in backbone.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_training_after_inference_mode_has_the_same_gradients():
    """The cached geometry of a size first seen under inference_mode can be part of a graph."""
    backbone, image = tiny(init_values=0.5).eval(), torch.randn(2, 3, 32, 160)
    gradients = []
    for first_seen in (torch.inference_mode, torch.enable_grad):
        _cached_geometry.cache_clear()
        with first_seen():
            backbone(image)
        assert not adapter_geometry(2, 10, image.device).patch_points.is_inference()
        backbone.zero_grad()
        backbone(image)[3].square().mean().backward()
        gradients.append(backbone.interactions[0].injector.attn.sampling_offsets.weight.grad.clone())
    assert gradients[0].abs().max() > 0 and torch.equal(*gradients)


def test_autocast_stays_close_to_float32():
    backbone, image = tiny().eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(image)
        with torch.autocast('cpu', torch.bfloat16):
            outputs = backbone(image)
    for output, exact in zip(outputs, expected):
        assert (output.float() - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_exports_as_one_graph():
    backbone = tiny(
        depth=2,
        interaction_indexes=[[0, 1]],
        window_attn=[True, False],
        window_size=[3, None],
        use_extra_extractor=False,
    )
    backbone, image = backbone.eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        exported = torch.export.export(backbone, (image,)).module()
        for output, expected in zip(exported(image), backbone(image), strict=True):
            torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


# Initial weights


def deit_file(path, backbone, **changes):
    """A file as DeiT publishes it: the plain ViT's tensors under ``model``, with the classifier's."""
    tensors = {name: torch.randn_like(tensor) for name, tensor in backbone.state_dict().items()
               if name.startswith(('pos_embed', 'patch_embed', 'blocks')) and 'gamma' not in name}  # fmt: skip
    tensors.update(cls_token=torch.zeros(1, 1, 12))
    for name in ('norm.weight', 'norm.bias', 'head.weight', 'head.bias'):
        tensors[name] = torch.zeros(12)
    tensors.update(changes)
    torch.save(dict(model={name: tensor for name, tensor in tensors.items() if tensor is not None}), path)
    return tensors


def test_pretrained_weights(tmp_path):
    tensors = deit_file(tmp_path / 'deit.pth', tiny())
    backbone = tiny(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'deit.pth')))
    backbone.init_weights()
    state = backbone.state_dict()
    assert torch.equal(state['blocks.3.attn.qkv.weight'], tensors['blocks.3.attn.qkv.weight'])
    assert torch.equal(state['pos_embed'], tensors['pos_embed'])
    assert torch.equal(state['blocks.0.gamma1'], torch.ones(12))
    assert not state['interactions.0.injector.gamma'].any()
    assert backbone.init_cfg['type'] == 'Pretrained'
    old_style = tiny(pretrained=str(tmp_path / 'deit.pth'))
    old_style.init_weights()
    assert torch.equal(old_style.pos_embed, backbone.pos_embed)


def test_position_table_of_another_size_is_resized(tmp_path):
    table = torch.randn(1, 17, 12)
    deit_file(tmp_path / 'deit.pth', tiny(), pos_embed=table)
    backbone = tiny()
    unused = load_vit_weights(backbone, str(tmp_path / 'deit.pth'))
    assert sorted(unused) == ['cls_token', 'head.bias', 'head.weight', 'norm.bias', 'norm.weight']
    assert torch.equal(backbone.pos_embed, resize_pos_embed(table, (2, 2)))


def test_detector_checkpoint_as_pretrained(tmp_path):
    source = tiny()
    state = {f'module.backbone.{name}': tensor for name, tensor in source.state_dict().items()}
    torch.save(dict(state_dict={**state, 'module.neck.weight': torch.zeros(1)}), tmp_path / 'detector.pth')
    backbone = ViTAdapter(**TINY)
    load_vit_weights(backbone, str(tmp_path / 'detector.pth'))
    assert torch.equal(backbone.level_embed, source.level_embed)


@pytest.mark.parametrize('wrapped', [None, 'model', 'state_dict'])
@pytest.mark.parametrize(('start', 'prefix'), [('', None), ('backbone.', None), ('a.b.', 'a.b'), ('a.b.', 'a.b.')])
def test_places_of_the_tensors_in_a_file(tmp_path, wrapped, start, prefix):
    source = tiny()
    content = {f'{start}{name}': value for name, value in source.state_dict().items()}
    if wrapped:
        content = {wrapped: content, 'meta': dict(epoch=1)}
    torch.save(content, tmp_path / 'file.pth')
    backbone = ViTAdapter(**TINY)
    assert load_vit_weights(backbone, str(tmp_path / 'file.pth'), prefix) == []
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])


def test_pretrained_comes_after_other_initialisations(tmp_path):
    tensors = deit_file(tmp_path / 'deit.pth', tiny())
    fill = dict(type='Constant', layer='Linear', val=3)
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'deit.pth'))
    backbone = tiny(init_cfg=[pretrained, fill])
    backbone.init_weights()
    assert torch.equal(backbone.blocks[0].mlp.fc1.weight, tensors['blocks.0.mlp.fc1.weight'])
    assert (backbone.interactions[0].extractor.ffn.fc1.weight == 3).all() and len(backbone.init_cfg) == 2


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='dict'):
        load_vit_weights(tiny(), str(tmp_path / 'list.pth'))


def test_state_dict_of_another_table_size_loads():
    backbone, state = tiny(), tiny().state_dict()
    state['pos_embed'] = torch.randn(1, 17, 12, dtype=torch.float64)
    expected = resize_pos_embed(state['pos_embed'].float(), (2, 2))
    backbone.load_state_dict(state)
    torch.testing.assert_close(backbone.pos_embed.data, expected)
    assert state['pos_embed'].shape == (1, 17, 12)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'blocks.2.mlp.fc1.bias': None}, 'lacks 1 of .* blocks.2.mlp.fc1.bias'),
        ({'blocks.2.mlp.fc1.bias': torch.zeros(7)}, r'blocks.2.mlp.fc1.bias: must have shape \(48,\)'),
        ({'pos_embed': torch.zeros(1, 5, 8)}, 'pos_embed: must have shape'),
    ],
)
def test_unfit_pretrained_file(tmp_path, changes, message):
    deit_file(tmp_path / 'deit.pth', tiny(), **changes)
    with pytest.raises(CheckpointError, match=message):
        load_vit_weights(tiny(), str(tmp_path / 'deit.pth'))


def test_initial_statistics():
    backbone = tiny(embed_dim=96, deform_num_heads=6)
    backbone.init_weights()
    assert backbone.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert backbone.up.weight.std().item() == pytest.approx((2 / (4 * 96)) ** 0.5, rel=0.1)
    assert backbone.level_embed.std().item() == pytest.approx(1, rel=0.2)
    attention = backbone.interactions[0].extractor.attn
    assert not attention.sampling_offsets.weight.any() and attention.sampling_offsets.bias.abs().max() == 4


@pytest.mark.parametrize(
    ('settings', 'field'),
    [
        (dict(patch_size=8), 'patch_size'),
        (dict(img_size=64), 'img_size'),
        (dict(window_attn=[True]), 'window_attn'),
        (dict(window_size=None), 'window_size'),
        (dict(window_size=[3, None, 0, None]), 'window_size'),
        (dict(window_size=[3, None]), 'window_size'),
        (dict(pretrain_size=15), 'pretrain_size'),
        (dict(interaction_indexes=[]), 'interaction_indexes'),
        (dict(interaction_indexes=[[2, 1]]), 'interaction_indexes'),
        (dict(interaction_indexes=[[0, 1, 2]]), 'interaction_indexes'),
        (dict(out_indices=()), 'out_indices'),
        (dict(interaction_indexes=[[0, 4]]), 'interaction_indexes'),
        (dict(out_indices=(4,)), 'out_indices'),
        (dict(num_heads=5), 'embed_dim'),
        (dict(pretrained='a', init_cfg=dict(type='Pretrained', checkpoint='b')), 'pretrained'),
    ],
)
def test_contradicting_settings(settings, field):
    with pytest.raises(ConfigError, match=f'^{field}'):
        tiny(**settings)


# Optimizer


def decay_by_name(model: nn.Module, constructor) -> dict[str, tuple[float, float]]:
    """(lr, weight decay) of every parameter by name."""
    wrapper = constructor(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


def test_weight_decay_of_the_config(repository):
    config = Config.fromfile(repository / CONFIG).optim_wrapper
    wrapper_cfg = dict(type='OptimWrapper', optimizer=config.optimizer)
    model = nn.ModuleDict(dict(backbone=tiny()))
    constructor = GroupedOptimWrapperConstructor(wrapper_cfg, config.paramwise_cfg)
    rules = decay_by_name(model, constructor)
    assert rules.keys() == {name for name, _ in model.named_parameters()}
    assert {lr for lr, _ in rules.values()} == {1e-4}
    free = {name.removeprefix('backbone.') for name, (_, decay) in rules.items() if decay == 0}
    assert {
        'level_embed',
        'pos_embed',
        'norm1.weight',
        'norm1.bias',
        'blocks.0.norm2.weight',
        'blocks.0.mlp.fc1.bias',
    } <= free
    assert 'interactions.0.injector.query_norm.weight' in free and 'spm.stem.1.bias' in free
    decayed = {
        'spm.stem.1.weight',
        'blocks.0.gamma1',
        'interactions.0.injector.gamma',
        'up.weight',
        'patch_embed.proj.weight',
    }
    assert not decayed & free
    assert len(constructor(model).optimizer.param_groups) == 2


def test_layer_wise_decay():
    wrapper_cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05))
    model = nn.ModuleDict(dict(backbone=tiny(), neck=nn.Conv2d(1, 1, 1)))
    paramwise_cfg = dict(num_layers=4, layer_decay_rate=0.5)
    rules = decay_by_name(model, LayerDecayOptimizerConstructor(wrapper_cfg, paramwise_cfg))
    assert rules.keys() == {name for name, _ in model.named_parameters()}
    assert rules['backbone.pos_embed'] == (0.5**5, 0.05)
    assert rules['backbone.patch_embed.proj.bias'] == (0.5**5, 0.0)
    assert rules['backbone.blocks.0.attn.qkv.weight'] == (0.5**4, 0.05)
    assert rules['backbone.blocks.3.gamma1'] == (0.5, 0.0)
    assert rules['backbone.spm.stem.1.weight'] == (1.0, 0.0)
    assert rules['neck.weight'] == (1.0, 0.05)


@pytest.mark.parametrize(
    'paramwise_cfg',
    [
        dict(num_layers=4),
        dict(num_layers=4, layer_decay_rate=1.5),
        dict(num_layers=3, layer_decay_rate=0.5),
        dict(num_layers=4, layer_decay_rate=0.5, custom_keys={}),
    ],
)
def test_layer_wise_decay_refuses(paramwise_cfg):
    wrapper_cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0))
    with pytest.raises(ConfigError):
        LayerDecayOptimizerConstructor(wrapper_cfg, paramwise_cfg)(nn.ModuleDict(dict(backbone=tiny())))
