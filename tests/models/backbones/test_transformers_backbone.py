"""TransformersBackbone: every family of the library against the library itself, and on top of it detectors that train, freeze, and rebuild."""

import copy
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from torch import nn

from mmdet.apis.building import build_model
from mmdet.apis.exporting import ExportSettings, export_detector
from mmdet.errors import CheckpointError, ConfigError
from mmdet.models.backbones import SwinTransformer
from mmdet.models.backbones.swin import swin_converter
from mmdet.models.inference import prepare_networks, restore_networks
from mmdet.models.utils.transformers_library import complete_config
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config
from tests.docs_commands import python_blocks
from tests.models.transformers_case import TINY_BACKBONES, needs_transformers, tiny_backbone, tiny_gfl

pytestmark = needs_transformers


@dataclass(frozen=True)
class Family:
    """What is known of a family by its paper and by the library: channels and strides of the maps by default; what sides are padded to; blocks."""

    channels: list[int]
    layers: int
    strides: list[int] = field(default_factory=lambda: [4, 8, 16, 32])
    multiple: int = 1
    out_indices: tuple[int, ...] = (1, 2, 3, 4)
    unused: tuple[str, ...] = ()


def plain_vit(multiple: int = 16, unused: tuple[str, ...] = ()) -> Family:
    return Family([48], 3, [16], multiple, (3,), unused)


SWIN = [12, 24, 48, 96]
FAMILIES = {
    'convnext': Family([8, 16, 24, 32], 5, multiple=32),
    'convnextv2': Family([8, 16, 24, 32], 5, multiple=32),
    'dinov3_convnext': Family([8, 16, 24, 32], 5, multiple=32),
    'swin': Family(SWIN, 5, unused=('swin.layernorm.weight', 'swin.layernorm.bias')),
    'swinv2': Family(SWIN, 5),
    'maskformer-swin': Family(SWIN, 5, unused=('model.layernorm.weight', 'model.layernorm.bias')),
    'hgnet_v2': Family([16, 32, 48, 64], 4),
    'resnet': Family([16, 32, 48, 64], 4),
    'rt_detr_resnet': Family([16, 32, 48, 64], 4),
    'textnet': Family([8, 16, 16, 24], 5),
    'pvt_v2': Family([8, 16, 24, 32], 4, out_indices=(0, 1, 2, 3)),
    'focalnet': Family([16, 32, 64, 64], 4, [8, 16, 32, 32], unused=('focalnet.layernorm.weight', 'focalnet.layernorm.bias')),
    'bit': Family([128] * 4, 4, unused=('bit.norm.weight', 'bit.norm.bias')),
    'dinov2': plain_vit(unused=('embeddings.mask_token',)),
    'dinov3_vit': plain_vit(unused=('embeddings.mask_token',)),
    'beit': plain_vit(),
    'vitdet': plain_vit(),
    'lw_detr_vit': plain_vit(32),
    'rf_detr_dinov2': plain_vit(32, unused=('embeddings.mask_token',)),
}  # fmt: skip


def build(model_type: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build(tiny_backbone(model_type, **options))


def frozen(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def gfl(model_type: str, **options: Any) -> Any:
    """A GFL of three or five levels over the family's maps, those of the coarser strides."""
    strides, neck = [8, 16, 32], dict(type='FPN', in_channels='auto', start_level=1, num_outs=3)
    if FAMILIES[model_type].strides == [16]:
        neck = dict(type='SimpleFPN', in_channels='auto', scales=(2, 1, 0.5))
    if model_type == 'focalnet':
        neck, strides = dict(type='FPN', in_channels='auto', num_outs=4), [8, 16, 32, 32]
    torch.manual_seed(0)
    return MODELS.build(tiny_gfl(model_type, strides, neck, **options))


def loss_of(detector: Any, size_hw: tuple[int, int]) -> torch.Tensor:
    """The loss of two images, of one object and of none."""
    shape = dict(img_shape=size_hw, pad_shape=size_hw, ori_shape=size_hw, scale_factor=(1.0, 1.0))
    boxes = [torch.tensor([[8.0, 8, 40, 40]]), torch.zeros(0, 4)]
    samples = [
        DetDataSample(metainfo=shape, gt_instances=InstanceData(bboxes=one, labels=torch.zeros(len(one)).long()))
        for one in boxes
    ]
    images = torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(1))
    losses = detector.loss(images, samples)
    return sum(sum(part) if isinstance(part, list) else part for part in losses.values())


# ------------------------------------------------------------------------------------------------ every family


@pytest.mark.parametrize('model_type', FAMILIES)
def test_family(model_type):
    """What the dry run says, and the outputs of the plain library, of a padded image where the library would cut it."""
    backbone, family = build(model_type).eval(), FAMILIES[model_type]
    assert (backbone.out_channels, backbone.out_strides) == (family.channels, family.strides)
    assert (backbone.survey.multiple, backbone.num_layers) == (family.multiple, family.layers)
    assert backbone.out_indices == family.out_indices
    assert frozen(backbone.model) == list(family.unused)
    image = torch.randn(2, 3, 65, 97)
    multiple = family.multiple
    padded = F.pad(image, (0, -97 % multiple, 0, -65 % multiple))
    with torch.no_grad():
        maps, expected = backbone(image), backbone.model(padded).feature_maps
    for one, other, channels, stride in zip(maps, expected, family.channels, family.strides, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        height, width = padded.shape[-2:]
        assert one.shape == (2, channels, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize('model_type', FAMILIES)
def test_a_detector_trains(model_type):
    """Every trained parameter gets a gradient, of maps that the neck does not read, too: DDP waits for none."""
    detector = gfl(model_type).train()
    loss_of(detector, (64, 64)).backward()
    lacking = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []
    unread = [name for name in frozen(detector.backbone.model) if name not in FAMILIES[model_type].unused]
    assert unread == {
        'convnext': ['hidden_states_norms.stage1.weight', 'hidden_states_norms.stage1.bias'],
        'convnextv2': ['hidden_states_norms.stage1.weight', 'hidden_states_norms.stage1.bias'],
        'swin': ['hidden_states_norms.stage1.weight', 'hidden_states_norms.stage1.bias'],
        'maskformer-swin': ['hidden_states_norms.0.weight', 'hidden_states_norms.0.bias'],
    }.get(model_type, [])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(model=dict(model_type='bit', hidden_sizes=[24] * 4)), 'must be divisible by num_groups'),
        (dict(model=dict(model_type='hiera', embed_dim=12, num_heads=[1] * 4, depths=[1] * 4)), 'images of every size'),
        (dict(model=dict(model_type='timm_backbone')), 'is not one of transformers itself'),
        (dict(model=dict(model_type='dinat')), 'natten'),
        (dict(model=dict(model_type='vit')), 'no backbone of this type; there are vitdet'),
        (dict(model=dict(model_type='convnext2')), 'near names: convnext'),
        (dict(model=dict(model_type='convnext', depth=[1])), "no key of this name; near names: depths.*'depth'"),
        (dict(model=dict(model_type='convnext', out_indices=[1])), 'give out_indices beside model'),
        (dict(model=dict(depths=[1])), 'model_type or from_pretrained'),
        (dict(model=dict(from_pretrained='nowhere/at-all')), "load='hub'"),
        (tiny_backbone('convnext', out_indices=(1, 5)), '0 stem, 1 stage1, .*4 stage4'),
        (tiny_backbone('convnext', out_indices=(2, 1)), 'must be ascending'),
        (tiny_backbone('convnext', out_indices=()), 'must be ascending'),
        (tiny_backbone('convnext', out_indices=3), 'must be ascending'),
        (tiny_backbone('convnext', with_cp=True), 'transformers recomputes no layers of convnext'),
        (tiny_backbone('resnet', drop_path_rate=0.1), 'resnet has no drop path'),
        (tiny_backbone('convnext', drop_path_rate=1.0), r'must be in \[0, 1\)'),
        (tiny_backbone('resnet', frozen_stages=5), r'must be in \[-1, 4\]'),
        (tiny_backbone('dinov3_convnext', frozen_stages=0), 'no stem of its own'),
    ],
)  # fmt: skip
def test_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(dict(options, type='TransformersBackbone'))


# ------------------------------------------------------------------------------------------------ options


def test_same_weights_for_the_same_seed_whether_surveyed_before_or_not():
    first, second = build('pvt_v2', model=dict(layer_norm_eps=1e-5)), build('pvt_v2', model=dict(layer_norm_eps=1e-5))
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


def test_out_indices_of_a_plain_vit_and_of_a_pyramid():
    assert build('dinov2', out_indices=(1, 3)).out_strides == [16, 16]
    backbone = build('swin', out_indices=(0, 2))
    assert (backbone.out_strides, backbone.out_channels) == ([4, 8], [12, 24])
    assert (
        sum('layers.2' in name or 'layers.3' in name for name in frozen(backbone)) == 17 * 3 + 3
    )  # without a map, no gradient
    assert backbone(torch.randn(1, 3, 64, 64))[1].shape == (1, 24, 8, 8)


@pytest.mark.parametrize(
    ('model_type', 'stages', 'starts'),
    [
        ('convnext', 0, ['embeddings.']),
        ('convnext', 1, ['embeddings.', 'encoder.stages.0.', 'hidden_states_norms.stage1.']),
        ('hgnet_v2', 2, ['embedder.', 'encoder.stages.0.', 'encoder.stages.1.']),
        ('pvt_v2', 1, ['encoder.layers.0.']),
        ('swin', 1, ['swin.embeddings.', 'swin.encoder.layers.0.blocks.', 'hidden_states_norms.stage1.', 'swin.layernorm.']),
        ('dinov2', 2, ['embeddings.', 'encoder.layer.0.', 'encoder.layer.1.']),
    ],
)  # fmt: skip
def test_frozen_stages(model_type, stages, starts):
    """What is frozen has no gradient and stays in evaluation mode when the model trains; the rest trains."""
    backbone = build(model_type, frozen_stages=stages).train()
    names = [name for name, _ in backbone.model.named_parameters() if name.startswith(tuple(starts))]
    assert frozen(backbone.model) == names and names
    for name, module in backbone.model.named_modules():
        own = [f'{name}.{leaf}' for leaf, _ in module.named_parameters()]
        if own:
            assert module.training != all(one in names for one in own), name


def test_frozen_stages_keep_their_statistics_and_norm_eval_all():
    image = torch.randn(2, 3, 64, 64)
    for options, changed in ((dict(frozen_stages=1), 3), (dict(norm_eval=True), 0), ({}, 5)):
        backbone = build('resnet', **options).train()
        before = {name: value.clone() for name, value in backbone.named_buffers() if name.endswith('running_mean')}
        backbone(image)
        after = dict(backbone.named_buffers())
        stages = {
            name.split('.')[3] if 'stages' in name else 'stem'
            for name, value in before.items()
            if not torch.equal(value, after[name])
        }
        assert len(stages) == changed, options


def test_drop_path():
    blocks = build('convnext', drop_path_rate=0.4).model.encoder.stages
    rates = [getattr(layer.drop_path, 'drop_prob', 0.0) for stage in blocks for layer in stage.layers]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize('model_type', ['swin', 'dinov2'])
def test_recomputed_layers_have_the_same_gradients(model_type):
    gradients, saved = [], []
    for with_cp in (False, True):
        backbone, sizes = build(model_type, with_cp=with_cp).train(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: (s.append(x.numel()), x)[1], lambda x: x):
            out = backbone(torch.ones(1, 3, 64, 64))[-1]
        out.square().sum().backward()
        gradients.append([parameter.grad for parameter in backbone.parameters() if parameter.requires_grad])
        saved.append(sum(sizes))
    torch.testing.assert_close(gradients[0], gradients[1])
    assert saved[1] < 0.5 * saved[0]


def test_positions_of_dinov3_stay_where_they_are():
    assert build('dinov3_vit').model.config.pos_embed_rescale is None
    assert build('dinov3_vit', model=dict(pos_embed_rescale=1.5)).model.config.pos_embed_rescale == 1.5
    backbone, image = build('dinov3_vit').train(), torch.randn(1, 3, 32, 32)
    assert torch.equal(backbone(image)[0], backbone(image)[0])


# ------------------------------------------------------------------------------------------------ learning rates of layers


def groups(detector: nn.Module, **paramwise: Any) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter, rate 0.5 for each layer below the top."""
    config = dict(
        constructor='LayerDecayOptimizerConstructor', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
        paramwise_cfg=dict(layer_decay_rate=0.5, **paramwise),
    )  # fmt: skip
    wrapper = build_optim_wrapper(detector, config)
    names = {parameter: name for name, parameter in detector.named_parameters()}
    return {
        names[parameter]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


@pytest.mark.parametrize(
    ('model_type', 'expected'),
    [
        ('dinov2', {
            'embeddings.cls_token': (1 / 16, 0), 'embeddings.position_embeddings': (1 / 16, 0),
            'embeddings.patch_embeddings.projection.weight': (1 / 16, 0.1), 'encoder.layer.0.norm1.weight': (1 / 8, 0),
            'encoder.layer.0.mlp.fc1.weight': (1 / 8, 0.1), 'encoder.layer.2.mlp.fc1.bias': (1 / 2, 0), 'layernorm.weight': (1, 0)}),
        ('swin', {
            'swin.embeddings.patch_embeddings.projection.weight': (1 / 64, 0.1), 'swin.encoder.layers.0.blocks.0.mlp.fc1.weight': (1 / 32, 0.1),
            'swin.encoder.layers.0.downsample.reduction.weight': (1 / 16, 0.1), 'swin.encoder.layers.2.blocks.1.mlp.fc1.weight': (1 / 4, 0.1),
            'swin.encoder.layers.3.blocks.0.attention.relative_position_bias.relative_position_bias_table': (1 / 2, 0),
            'hidden_states_norms.stage4.weight': (1, 0)}),
        ('convnextv2', {
            'embeddings.patch_embeddings.weight': (1 / 64, 0.1), 'encoder.stages.1.downsampling_layer.1.weight': (1 / 16, 0.1),
            'encoder.stages.2.layers.1.grn.weight': (1 / 4, 0), 'encoder.stages.3.layers.0.pwconv1.weight': (1 / 2, 0.1)}),
        ('resnet', {
            'embedder.embedder.convolution.weight': (1 / 32, 0.1), 'encoder.stages.0.layers.0.layer.0.convolution.weight': (1 / 16, 0.1),
            'encoder.stages.3.layers.0.layer.1.normalization.weight': (1 / 2, 0)}),
    ],
)  # fmt: skip
def test_layer_decay(model_type, expected):
    detector = gfl(model_type)
    found = groups(detector)
    assert {name: found[f'backbone.model.{name}'] for name in expected} == expected
    assert found['bbox_head.gfl_cls.weight'] == (1, 0.1)
    assert len(found) == sum(parameter.requires_grad for parameter in detector.parameters())
    layers = FAMILIES[model_type].layers
    assert groups(detector, num_layers=layers) == found
    with pytest.raises(ConfigError, match=f'must be {layers}, the layers of backbone'):
        groups(detector, num_layers=layers + 1)


# ------------------------------------------------------------------------------------------------ strides, necks


def test_strides_of_the_head_must_be_those_of_the_maps():
    fpn = dict(type='FPN', in_channels='auto', num_outs=4)
    message = r'TransformersBackbone and FPN, \[8, 16, 32, 32\].*\[4, 8, 16, 32\]'
    with pytest.raises(ConfigError, match=message):
        MODELS.build(tiny_gfl('focalnet', [4, 8, 16, 32], fpn))
    with pytest.raises(ConfigError, match='bbox_head, strides'):
        MODELS.build(tiny_gfl('dinov2', [8, 16], dict(type='SimpleFPN', in_channels='auto', scales=(1, 0.5))))
    detector = MODELS.build(tiny_gfl('dinov2', [7, 14, 28], dict(type='SimpleFPN', in_channels='auto', scales=(2, 1, 0.5)),
                                     model=dict(patch_size=14, image_size=56)))  # fmt: skip
    assert detector.backbone.out_strides == [14] and detector.neck.in_channels == 48
    assert [tuple(one.shape[2:]) for one in detector.extract_feat(torch.zeros(1, 3, 70, 50))] == [
        (10, 8),
        (5, 4),
        (3, 2),
    ]


def test_a_two_stage_detector_is_checked_too(repository):
    model = load_config(repository / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').model
    model.backbone, model.neck.in_channels = tiny_backbone('swin'), 'auto'
    with torch.device('meta'):
        assert MODELS.build(copy.deepcopy(model)).neck.in_channels == SWIN
        model.roi_head.bbox_roi_extractor.featmap_strides = [8, 16, 32, 64]
        with pytest.raises(ConfigError, match='featmap_strides'):
            MODELS.build(model)


# ------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize(
    'kind, given, expected', [('dinov2', None, 'sdpa'), ('dinov2', 'eager', 'eager'), ('convnext', None, 'eager')]
)
def test_attention_comes_back(kind, given, expected):
    config = tiny_backbone(kind, model=dict(attn_implementation=given))
    backbone = MODELS.build(config)
    again = MODELS.build(dict(config, model=backbone.full_config()))
    assert [one.model.config._attn_implementation for one in (backbone, again)] == [expected] * 2


def test_published_weights_and_their_config_without_the_folder(tmp_path):
    """A folder as the library writes it, without norms of outputs, as a classifier's is; then what a checkpoint rebuilds."""
    source = build('swin', out_indices=(1,), model=dict(window_size=2))
    source.model.save_pretrained(tmp_path / 'swin')
    config = dict(
        type='TransformersBackbone', model=dict(from_pretrained=str(tmp_path / 'swin')), out_indices=(2, 3, 4)
    )
    backbone = MODELS.build(config)
    backbone.init_weights()
    expected = {name: value for name, value in source.model.state_dict().items() if 'hidden_states_norms' not in name}
    found = backbone.model.state_dict()
    assert backbone.model.config.window_size == 2 and len(expected) > 90
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    complete_config(config, backbone)
    assert config['model']['window_size'] == 2 and 'transformers_version' in config['model']
    (tmp_path / 'swin').rename(tmp_path / 'moved')
    rebuilt = MODELS.build(copy.deepcopy(config))
    rebuilt.load_state_dict(backbone.state_dict())
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(rebuilt.eval()(image), backbone.eval()(image), rtol=0, atol=0)
    with pytest.raises(ConfigError, match='no such folder'):
        rebuilt.init_weights()


def test_weights_that_do_not_fit(tmp_path):
    build('resnet').model.save_pretrained(tmp_path)
    model = dict(from_pretrained=str(tmp_path), hidden_sizes=[16, 32, 48, 80])
    with pytest.raises(CheckpointError, match='lacks .* tensors of the network.*encoder.stages.3'):
        MODELS.build(dict(type='TransformersBackbone', model=model)).init_weights()


def test_backbone_of_a_checkpoint_of_ours(tmp_path):
    detector = gfl('convnext')
    torch.save(dict(state_dict=detector.state_dict()), tmp_path / 'epoch_1.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'))
    torch.manual_seed(5)
    backbone = MODELS.build(tiny_backbone('convnext', init_cfg=init))
    backbone.init_weights()
    torch.testing.assert_close(backbone.state_dict(), detector.backbone.state_dict(), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match='does not fit the backbone'):
        MODELS.build(tiny_backbone('convnextv2', init_cfg=init)).init_weights()
    with pytest.raises(ConfigError, match='Pretrained'):
        MODELS.build(tiny_backbone('convnext', init_cfg=dict(type='Normal'))).init_weights()


def test_initialising_a_detector_leaves_the_backbone_s_weights():
    detector = gfl('swinv2')
    before = {name: value.clone() for name, value in detector.backbone.state_dict().items()}
    detector.init_weights()
    torch.testing.assert_close(detector.backbone.state_dict(), before, rtol=0, atol=0)


_OF_SWIN = (
    ('swin.embeddings.patch_embeddings.projection', 'patch_embed.proj'),
    ('swin.embeddings.norm', 'patch_embed.norm'),
    ('swin.encoder.', ''),
    ('relative_position_bias.', ''),
    ('attention.o_proj', 'attn.proj'),
    ('attention.', 'attn.'),
    ('layernorm_before', 'norm1'),
    ('layernorm_after', 'norm2'),
)


def test_swin_is_our_swin():
    """The library's weights under the names of the original, converted as the files of its authors are: the same maps, at sizes that are padded."""
    backbone = build('swin').eval()
    tensors = {}
    for name, value in backbone.model.state_dict().items():
        for old, new in _OF_SWIN:
            name = name.replace(old, new)
        tensors[name] = torch.randn_like(value) * 0.2 if value.is_floating_point() else value
    backbone.model.load_state_dict(dict(zip(backbone.model.state_dict(), tensors.values())))
    for name in [name for name in tensors if '.q_proj' in name]:
        parts = [tensors.pop(name.replace('q_proj', f'{letter}_proj')) for letter in 'qkv']
        tensors[name.replace('q_proj', 'qkv')] = torch.cat(parts)
    norms = {
        f'norm{i}.{leaf}': tensors[f'hidden_states_norms.stage{i + 1}.{leaf}']
        for i in range(4)
        for leaf in ('weight', 'bias')
    }
    tensors = {name: value for name, value in tensors.items() if not name.startswith(('hidden', 'swin.layernorm'))}
    own = SwinTransformer(
        embed_dims=12, depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4), window_size=4, drop_path_rate=0.0
    ).eval()
    index = {name: value for name, value in own.state_dict().items() if name.endswith('index')}
    own.load_state_dict({**swin_converter(tensors, prefix=''), **norms, **index})
    for size in ((64, 64), (100, 68)):
        image = torch.randn(1, 3, *size)
        torch.testing.assert_close(own(image), backbone(image), rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------ inference, averages


@pytest.mark.parametrize('model_type', ['hgnet_v2', 'convnextv2', 'dinov2'])
def test_prepared_networks(model_type):
    """Folded norms and channels last leave the raw outputs; bfloat16 stays near them."""
    detector = gfl(model_type).eval()
    loss_of(detector.train(), (64, 64))  # statistics of batch norms that are none of the start
    detector.eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = detector(image)
        line = prepare_networks(detector)
        assert ('batch norms folded' in line) == (model_type == 'hgnet_v2')
        torch.testing.assert_close(detector(image), expected, rtol=1e-4, atol=1e-4)
        prepare_networks(detector, dict(amp='bf16'))
        maps = detector(image)[1]
        restore_networks(detector)
    for one, other in zip(maps, expected[1], strict=True):
        assert (one.float() - other).norm() < 0.05 * other.norm()


def test_a_copy_is_a_backbone_of_its_own():
    """What an average of the weights does: copy, change, run; the frozen parts stay so in the copy."""
    backbone = build('dinov2', frozen_stages=1).eval()
    image = torch.randn(1, 3, 32, 32)
    expected, double = backbone(image), copy.deepcopy(backbone)
    torch.testing.assert_close(double(image), expected, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in double.parameters():
            parameter.zero_()
    torch.testing.assert_close(backbone(image), expected, rtol=0, atol=0)
    assert not double(image)[0].any() and frozen(double.train()) == frozen(backbone)
    assert not double.model.encoder.layer[0].training and double.model.encoder.layer[1].training


def test_export(tmp_path):
    """ONNX of a ViT that pads inside (64 x 96 to 70 x 98) and of its pyramid: the folder is compared with the detector on an image."""
    neck = dict(type='SimpleFPN', in_channels='auto', scales=(2, 1, 0.5))
    model = tiny_gfl('dinov2', [7, 14, 28], neck, model=dict(patch_size=14, image_size=56))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline)
    config = Config(dict(model=model, test_dataloader=dict(dataset=dataset)))
    torch.manual_seed(0)
    detector = build_model(config)
    with torch.no_grad():  # scores that are far apart, so that rounding does not change their order
        for parameter in detector.backbone.parameters():
            parameter.normal_(0, 0.3)
        detector.bbox_head.gfl_cls.weight.normal_(0, 0.5)
        detector.bbox_head.gfl_cls.bias.zero_()
    torch.save(
        dict(state_dict=detector.state_dict(), meta=dict(dataset_meta=dict(classes=('a', 'b', 'c')))),
        tmp_path / 'w.pth',
    )
    (tmp_path / 'images').mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'images/0.png'), cv2.resize(pixels, (96, 64)))
    settings = ExportSettings(to='onnx', parity_images=str(tmp_path / 'images'), ap_images=0)
    done = export_detector(config, str(tmp_path / 'w.pth'), tmp_path / 'out', settings, log=lambda line: None)
    assert done.parity.passed and done.parity.expected > 10, str(done.parity)


@pytest.mark.parametrize('model_type', ['rf_detr_dinov2', 'dinov3_vit'])
@pytest.mark.filterwarnings(
    'ignore::torch.jit.TracerWarning', 'ignore::FutureWarning'
)  # the latter of a property that the tracer reads
def test_a_trace_holds_for_other_sizes(model_type):
    """Of positions that are resized with antialias, and of a ViT without registers."""
    options = dict(num_register_tokens=0) if model_type == 'dinov3_vit' else {}
    backbone = build(model_type, model=options).eval()
    example, other = (
        torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)) for size in ((64, 96), (90, 40))
    )
    traced = torch.jit.trace(backbone, example, check_trace=False)
    for image in (example, other):
        for one, expected in zip(traced(image), backbone(image), strict=True):
            torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-4)


def test_the_page_s_example(repository, capsys):
    block = next(block for block in python_blocks(repository / 'docs/transformers_backbones.md') if 'print(' in block)
    exec(block, {})
    assert capsys.readouterr().out.strip() == block.strip().splitlines()[-1].removeprefix('# ')


# Entries of the state dict, parameters, trained ones: those of ConvNeXtV2-T, Swin-T (as in ../swin) and DINOv2-S with a neck and a head of GFL.
CONFIGS = {
    'gfl_convnextv2_tiny_fpn_1x_coco': (252, 36_226_713, 36_226_713, 18),
    'gfl_swin_tiny_fpn_1x_coco': (275, 35_881_107, 35_879_571, 12),
    'gfl_dinov2_small_simple-fpn_1x_coco': (289, 30_812_121, 30_811_737, 12),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_configs(name, repository):
    cfg = load_config(repository / f'configs/transformers/{name}.py')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        build_optim_wrapper(model, cfg.optim_wrapper)
    counts = [sum(p.numel() for p in model.parameters() if p.requires_grad >= least) for least in (0, 1)]
    assert (len(model.state_dict()), *counts, model.backbone.num_layers) == CONFIGS[name]


def test_the_table_has_every_tiny_backbone():
    assert list(FAMILIES) == list(TINY_BACKBONES)
