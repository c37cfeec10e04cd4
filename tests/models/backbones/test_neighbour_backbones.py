"""HRNet with HRFPN, RegNet and Swin Transformer against mmdetection 3.3.0, and what they do besides.

The numbers are of its configs of the same names with ``--size 64 96 --boxes 3 6`` (two images, the case of :mod:`tests.detector_case`), of Swin with
``model.backbone.drop_path_rate=0``; float32 on a CPU.
"""

import functools

import pytest
import torch

from mmdet.engine.checkpoint import load_into
from mmdet.errors import CheckpointError
from mmdet.models import HRFPN
from mmdet.models.backbones import HRNet, RegNet, SwinTransformer
from mmdet.models.backbones.swin import ShiftWindowMSA, SwinBlockSequence, WindowMSA, swin_converter
from mmdet.registry import MODELS
from tests.detector_case import filled_detector, gradient_norm, images, samples, train_with_fixed_norms
from tests.reference_fill import statistics
from tests.reference_keys import reference_keys

# Config: listing of keys, statistics of some maps of the backbone (mean, std, min, max, first, last), losses, norm of the gradient, and of each image
# number and sum of the scores.
NETWORKS = {
    'hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py': (
        'fcos_hrnetv2p-w18',
        {
            0: (447.380814, 491.273780, 0, 2799.244385, 0, 235.297119),
            3: (243.542520, 305.997302, 0, 1811.450439, 0, 0),
        },
        dict(loss_cls=[77.076355], loss_bbox=[4.659502], loss_centerness=[0.771165]),
        532.14041,
        [(100, 61.917806), (100, 61.049569)],
    ),
    'regnet/retinanet_regnetx-800MF_fpn_1x_coco.py': (
        'retinanet_regnetx-800MF',
        {
            0: (0.262621, 0.484338, 0, 4.578600, 0, 0.252707),
            3: (0.558538, 0.641771, 0, 4.797125, 0, 0.567320),
        },
        dict(loss_cls=[224.96283, 56.697281, 13.512691, 4.030648, 2.685922], loss_bbox=[1.722606, 0, 0, 0, 0]),
        475.57635,
        [(100, 70.384825), (100, 68.785164)],
    ),
    'swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py': (
        'retinanet_swin-t',
        {
            0: (-0.001161, 0.997284, -4.203692, 4.180441, 1.209852, 0.447379),
            2: (0.004843, 1.005294, -3.341048, 3.659555, 0.887332, -1.764794),
        },
        dict(loss_cls=[245.45467, 58.034905, 13.610148, 4.043159, 2.690576], loss_bbox=[1.533257, 0, 0, 0, 0]),
        640.91312,
        [(100, 75.290699), (100, 73.632487)],
    ),
}


@functools.cache
def detector(path):
    return filled_detector(path, **(dict(backbone__drop_path_rate=0) if '/swin/' in str(path) else {}))


@pytest.mark.parametrize('name', NETWORKS)
def test_names_outputs_losses_gradients_and_detections(repository, name):
    listing, maps, losses, norm, detections = NETWORKS[name]
    model, inputs = detector(repository / 'configs' / name), images((64, 96))
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == reference_keys(listing)
    with torch.no_grad():
        found = model.backbone(inputs)
        predicted = model.predict(inputs, samples((64, 96)))
    for level, expected in maps.items():
        assert statistics(found[level]) == pytest.approx(expected, rel=1e-4, abs=1e-4 * expected[1])
    scores = [sample.pred_instances.scores for sample in predicted]
    assert [(len(part), part.sum().item()) for part in scores] == [pytest.approx(row, rel=1e-4) for row in detections]
    measured = train_with_fixed_norms(model).loss(inputs, samples((64, 96)))
    for key, expected in losses.items():
        parts = measured[key] if isinstance(measured[key], list) else [measured[key]]
        assert [part.item() for part in parts] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert gradient_norm(model, measured) == pytest.approx(norm, rel=1e-3)
    model.eval()


@pytest.mark.parametrize(
    ('arch', 'widths', 'group', 'blocks'),
    [
        ('400mf', [32, 64, 160, 384], 16, [1, 2, 7, 12]),
        ('1.6gf', [72, 168, 408, 912], 24, [2, 4, 10, 2]),
        ('3.2gf', [96, 192, 432, 1008], 48, [2, 6, 15, 2]),
        ('4.0gf', [80, 240, 560, 1360], 40, [2, 5, 14, 2]),
        ('6.4gf', [168, 392, 784, 1624], 56, [2, 4, 10, 1]),
        ('8.0gf', [80, 240, 720, 1920], 120, [2, 5, 15, 1]),
        ('12gf', [224, 448, 896, 2240], 112, [2, 5, 11, 1]),
    ],
)
def test_the_published_regnets(arch, widths, group, blocks):
    with torch.device('meta'):
        net = RegNet(arch=f'regnetx_{arch}')
    assert net.stage_widths == widths
    assert [len(getattr(net, name)) for name in net.res_layers] == blocks
    for name, width in zip(net.res_layers, widths):
        assert getattr(net, name)[0].conv2.weight.shape == (width, min(group, width), 3, 3)


def test_regnet_of_an_own_line():
    arch = dict(w0=88, wa=26.31, wm=2.25, group_w=48, depth=25, bot_mul=0.5)
    net = RegNet(arch=arch, frozen_stages=1)
    assert net.layer1[0].conv2.weight.shape[0] * 2 == net.layer1[0].conv3.weight.shape[0] == net.stage_widths[0]
    assert not net.layer1[1].conv2.weight.requires_grad and net.layer2[0].conv1.weight.requires_grad
    assert [tuple(out.shape[2:]) for out in net(torch.zeros(1, 3, 33, 64))] == [(9, 16), (5, 8), (3, 4), (2, 2)]


def stage(branches, widths=(4, 8, 16, 32), block='BASIC', modules=1):
    blocks = dict(num_modules=modules, num_branches=branches, block=block)
    return dict(blocks, num_blocks=(1,) * branches, num_channels=widths[:branches])


def small_hrnet(last=4, **changes):
    extra = dict(stage1=stage(1, (8,), 'BOTTLENECK'), stage2=stage(2), stage3=stage(3), stage4=stage(last, modules=2))
    return HRNet(dict(extra, **changes.pop('extra', {})), **changes)


def test_hrnet_of_other_stages():
    image = torch.zeros(1, 3, 65, 97)  # no multiples of 32: maps are enlarged to what they are added to
    assert [tuple(out.shape) for out in small_hrnet()(image)] == [
        (1, 4, 17, 25), (1, 8, 9, 13), (1, 16, 5, 7), (1, 32, 3, 4),
    ]  # fmt: skip
    assert [out.shape[1] for out in small_hrnet(3)(image)] == [4, 8, 16]
    finest = small_hrnet(multiscale_output=False)
    assert [tuple(out.shape) for out in finest(image)] == [(1, 4, 17, 25)]
    assert len(finest.stage4[0].fuse_layers) == 4 and len(finest.stage4[1].fuse_layers) == 1


def test_hrnet_trains_with_recomputation_and_zero_norms():
    net = small_hrnet(with_cp=True, zero_init_residual=True)
    net.init_weights()
    assert net.layer1[0].bn3.weight.abs().sum() == 0 and net.stage2[0].branches[0][0].bn2.weight.abs().sum() == 0
    net.train()
    assert not net.bn1.training  # norm_eval
    with torch.autocast('cpu', torch.bfloat16):
        out = HRFPN([4, 8, 16, 32], 8, with_cp=True, stride=2)(net(torch.rand(1, 3, 64, 64)))
    assert [tuple(part.shape[2:]) for part in out] == [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]
    sum(part.float().sum() for part in out).backward()
    assert net.conv1.weight.grad is not None


def test_pyramid_of_hrnet_pools_the_joined_maps():
    neck = HRFPN([1, 2], 3, num_outs=2, pooling_type='MAX')
    for conv in neck.fpn_convs:
        torch.nn.init.dirac_(conv.conv.weight)
    torch.nn.init.zeros_(neck.reduction_conv.conv.weight)
    neck.reduction_conv.conv.weight.data[:, 1] = 1  # the first channel of the coarser map alone
    coarse = torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]]]])
    fine, half = neck([torch.full((1, 1, 2, 4), 9.0), coarse])
    assert fine[0, 0].tolist() == [[1, 1.25, 1.75, 2]] * 2
    assert half[0, 2].tolist() == [[1.25, 2]]


TINY = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1), window_size=2)


def test_masks_of_shifted_windows():
    attention = ShiftWindowMSA(4, 1, 2, shift_size=1)
    mask = attention._shift_mask((2, 4), torch.device('cpu')) == 0  # windows of a map of 2 x 4, moved by one
    assert mask.shape == (2, 4, 4)
    # The first window has columns 1 and 2, rows 1 and 0: rows do not meet. The second has columns 3 and 0 besides: nothing meets.
    assert mask[0].tolist() == [[True, True, False, False]] * 2 + [[False, False, True, True]] * 2
    assert mask[1].tolist() == torch.eye(4, dtype=torch.bool).tolist()


def test_attention_sees_its_window_only():
    torch.manual_seed(0)
    for shift, seen in ((0, [0, 1, 4, 5]), (1, [0])):
        attention = ShiftWindowMSA(4, 2, 2, shift_size=shift)
        tokens = torch.rand(1, 16, 4, requires_grad=True)
        attention(tokens, (4, 4))[0, 0].sum().backward()
        assert tokens.grad[0].abs().sum(1).gt(1e-30).nonzero().flatten().tolist() == seen


def test_biases_by_relative_position():
    attention = WindowMSA(4, 1, (1, 2))
    torch.nn.init.zeros_(attention.qkv.weight[:8])
    torch.nn.init.zeros_(attention.qkv.bias)
    torch.nn.init.eye_(attention.qkv.weight[8:])
    torch.nn.init.eye_(attention.proj.weight)
    torch.nn.init.zeros_(attention.proj.bias)
    # Rows: distances -1, 0 and 1 of the query's column from the key's. Logits -9, 0, -9: each place sees itself.
    attention.relative_position_bias_table.data[:, 0] = torch.tensor([-9.0, 0.0, -9.0])
    x = torch.tensor([[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]])
    torch.testing.assert_close(attention(x), x, rtol=0, atol=1e-3)
    masked = attention(x, torch.tensor([[[-100.0, 0], [0, -100.0]]]))
    torch.testing.assert_close(masked, x.flip(1), rtol=0, atol=1e-3)


def test_swin_of_odd_sizes_with_positions_and_recomputation():
    torch.manual_seed(0)
    net = SwinTransformer(**TINY, use_abs_pos_embed=True, pretrain_img_size=16, with_cp=True, drop_path_rate=0.0)
    net.init_weights()
    image = torch.rand(2, 3, 31, 45)
    outs = net.train()(image)
    assert [tuple(out.shape) for out in outs] == [(2, 8, 8, 12), (2, 16, 4, 6)]
    sum(out.square().sum() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    torch.testing.assert_close([out.detach() for out in net.eval()(image)], [out.detach() for out in outs])
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        assert all(out.isfinite().all() for out in net(image))


@pytest.mark.parametrize(
    ('stages', 'frozen'),
    [(-1, set()), (0, {'patch_embed', 'absolute_pos_embed'}), (1, {'patch_embed', 'absolute_pos_embed', 'stages.0', 'norm0'})],
)  # fmt: skip
def test_frozen_stages_of_swin(stages, frozen):
    net = SwinTransformer(**TINY, use_abs_pos_embed=True, pretrain_img_size=16, frozen_stages=stages).train()
    for name, parameter in net.named_parameters():
        assert parameter.requires_grad != name.startswith(tuple(frozen)), name
    assert net.patch_embed.training == (stages < 0) and net.stages[1].training


def test_the_order_of_merged_pixels():
    # Names of the original; channels 0 and 1 of the pixels (0, 0), (1, 0), (0, 1), (1, 1), in the order of the file.
    ckpt = {
        'layers.0.downsample.norm.weight': torch.tensor([0.0, 1, 10, 11, 20, 21, 30, 31]),
        'layers.0.blocks.1.attn.proj.bias': torch.zeros(2), 'layers.0.blocks.1.mlp.fc2.bias': torch.zeros(2),
        'patch_embed.proj.bias': torch.zeros(2), 'norm.bias': torch.zeros(2), 'head.bias': torch.zeros(5),
    }  # fmt: skip
    found = swin_converter(ckpt)
    assert list(found) == [f'backbone.{name}' for name in (
        'stages.0.downsample.norm.weight', 'stages.0.blocks.1.attn.w_msa.proj.bias', 'stages.0.blocks.1.ffn.layers.1.bias',
        'patch_embed.projection.bias', 'norm.bias',
    )]  # fmt: skip
    assert next(iter(found.values())).tolist() == [0, 20, 10, 30, 1, 21, 11, 31]


ORIGINAL = (
    ('stages.', 'layers.'), ('attn.w_msa.', 'attn.'), ('ffn.layers.0.0.', 'mlp.fc1.'), ('ffn.layers.1.', 'mlp.fc2.'),
    ('patch_embed.projection.', 'patch_embed.proj.'),
)  # fmt: skip


def original_file(path, net):
    """Write a network's weights as its authors publish them, without the norms of the outputs, and with a classifier."""
    tensors = {'head.weight': torch.zeros(5, 16), 'norm.weight': torch.zeros(16)}
    for name, value in net.state_dict().items():
        if name.startswith('norm'):
            continue
        if 'downsample' in name:
            value = value.unflatten(-1, (-1, 4))[..., [0, 2, 1, 3]].transpose(-1, -2).flatten(-2)
        for own, theirs in ORIGINAL:
            name = name.replace(own, theirs)
        tensors[name] = value
    torch.save(dict(model=tensors), path)
    return str(path)


def pretrained(path, **changes):
    init_cfg = dict(type='Pretrained', checkpoint=path)
    net = MODELS.build(dict(TINY, type='SwinTransformer', init_cfg=init_cfg, **{'convert_weights': True, **changes}))
    net.init_weights()
    return net


def test_pretrained_files_of_the_authors(tmp_path):
    torch.manual_seed(0)
    source = SwinTransformer(**TINY).eval()
    source.init_weights()
    path, image = original_file(tmp_path / 'swin.pth', source), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(pretrained(path).eval()(image), source(image))
        wider = pretrained(path, window_size=4)  # its tables of positions are resized
        assert wider.stages[0].blocks[0].attn.w_msa.relative_position_bias_table.shape == (49, 1)
        assert wider.stages[0].blocks[0].attn.w_msa.relative_position_index.shape == (16, 16)
        assert wider(image)[1].isfinite().all()
    assert not load_into(wider, source.state_dict()).mismatched  # also of a checkpoint
    # A file of this package, of a whole detector.
    torch.save(
        dict(state_dict={f'backbone.{key}': value for key, value in source.state_dict().items()}), tmp_path / 'own.pth'
    )
    same = pretrained(str(tmp_path / 'own.pth'), convert_weights=False)
    assert torch.equal(same.patch_embed.projection.weight, source.patch_embed.projection.weight)
    for changes, text in ((dict(convert_weights=False), 'convert_weights=True'), (dict(embed_dims=12), 'does not fit'), (dict(depths=(2, 4)), 'lacks')):  # fmt: skip
        with pytest.raises(CheckpointError, match=text):
            pretrained(path, **changes)


@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (lambda: RegNet(arch='regnetx_233mf'), 'arch'),
        (lambda: RegNet(arch=3), 'arch'),
        (lambda: RegNet(arch=dict(w0=88)), 'arch'),
        (lambda: RegNet(arch='regnetx_400mf', strides=(2, 2)), 'strides'),
        (lambda: RegNet(arch='regnetx_400mf', out_indices=(4,)), 'out_indices'),
        (lambda: HRNet(extra=dict(stage1=stage(1))), 'stage2'),
        (lambda: small_hrnet(extra=dict(stage2=dict(stage(2), num_blocks=(1,)))), 'stage2'),
        (lambda: small_hrnet(extra=dict(stage3=dict(stage(3), num_branches=2))), 'stage3'),
        (lambda: small_hrnet(extra=dict(stage1=stage(2))), 'one branch'),
        (lambda: small_hrnet(pretrained='a', init_cfg=dict(type='Pretrained', checkpoint='b')), 'together'),
        (lambda: HRFPN(4, 8), 'in_channels'),
        (lambda: HRFPN([4], 8, pooling_type='X'), 'pooling_type'),
        (lambda: HRFPN([4, 8], 8)([torch.zeros(1, 4, 8, 8)]), '2 feature maps'),
        (lambda: SwinTransformer(strides=(3, 2, 2, 2)), 'patch_size'),
        (lambda: SwinTransformer(pretrain_img_size=(1, 2, 3)), 'pretrain_img_size'),
        (lambda: SwinTransformer(depths=(2, 2)), 'each stage'),
        (lambda: SwinTransformer(**TINY, init_cfg=dict(type='Xavier', layer='Linear')).init_weights(), 'init_cfg'),
        (lambda: ShiftWindowMSA(4, 1, 7, shift_size=7), 'shift_size'),
        (lambda: ShiftWindowMSA(4, 1, 2)(torch.zeros(1, 5, 4), (2, 2)), '2 x 2'),
        (lambda: WindowMSA(5, 2, (2, 2)), 'num_heads'),
        (lambda: SwinBlockSequence(4, 1, 8, depth=2, drop_path_rate=[0.1]), 'drop_path_rate'),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be(build, text):
    with pytest.raises(AssertionError, match=text):
        build()
