"""Tiny models of the library transformers for tests, and the skip where it is not installed."""

import copy
import importlib.util
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec('transformers') is None, reason='the extra "transformers" is not installed'
)

HGNET: dict[str, Any] = dict(
    model_type='hgnet_v2', stem_channels=[3, 8, 16], stage_in_channels=[16, 16, 32, 48], stage_mid_channels=[8, 8, 16, 16],
    stage_out_channels=[16, 32, 48, 64], stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, stage_light_block=[False, False, True, True],
    stage_kernel_size=[3] * 4, stage_downsample=[False, True, True, True], depths=[1] * 4, hidden_sizes=[16, 32, 48, 64], embedding_size=16,
    out_indices=[2, 3, 4],
)  # fmt: skip
RESNET: dict[str, Any] = dict(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1] * 4, layer_type='basic')
_HYBRID: dict[str, Any] = dict(
    encoder_in_channels=[32, 48, 64], encoder_hidden_dim=32, encoder_ffn_dim=64, encoder_attention_heads=4, d_model=32, decoder_in_channels=[32] * 3,
    decoder_ffn_dim=64, decoder_attention_heads=4, decoder_layers=2, num_queries=30, num_denoising=10, freeze_backbone_batch_norms=False,
)  # fmt: skip
_VIT: dict[str, Any] = dict(
    hidden_size=48, num_hidden_layers=3, num_attention_heads=3, mlp_ratio=2, image_size=128, patch_size=16
)
_DECODER: dict[str, Any] = dict(
    d_model=32, decoder_layers=2, decoder_ffn_dim=64, decoder_self_attention_heads=4, decoder_cross_attention_heads=4, decoder_n_points=2,
    num_queries=30, group_detr=3, c2f_num_blocks=1,
)  # fmt: skip
_RT_DETR: dict[str, Any] = dict(
    backbone_config=dict(RESNET, model_type='rt_detr_resnet', out_indices=[2, 3, 4]), hidden_expansion=0.5, **_HYBRID
)
_D_FINE: dict[str, Any] = dict(
    backbone_config=HGNET, depth_mult=0.34, hidden_expansion=0.34, lqe_hidden_dim=16, **_HYBRID
)

# model_type -> model= of a TransformersDetector with 0.1 to 0.25 million parameters and 30 queries, for images of 128 x 128.
TINY: dict[str, dict[str, Any]] = {
    'd_fine': _D_FINE,
    'deimv2': _D_FINE,
    'rt_detr': _RT_DETR,
    'rt_detr_v2': _RT_DETR,
    'rf_detr': dict(backbone_config=dict(_VIT, model_type='rf_detr_dinov2', num_windows=2, out_indices=[2, 3]), dropout=0.0, **_DECODER),
    'lw_detr': dict(
        backbone_config=dict(_VIT, model_type='lw_detr_vit', pretrain_image_size=128, num_windows=4, window_block_indices=[0, 2], out_indices=[1, 3]),
        projector_scale_factors=[1.0],
        **_DECODER,
    ),
    'deformable_detr': dict(
        backbone_config=dict(RESNET, model_type='resnet', embedding_size=8, out_features=['stage2', 'stage3', 'stage4']), d_model=32, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=64, decoder_ffn_dim=64, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=30,
        two_stage_num_proposals=30, with_box_refine=True, two_stage=True, auxiliary_loss=True, dropout=0.0, disable_custom_kernels=True,
    ),
    'yolos': dict(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=[128, 128], patch_size=16,
        num_detection_tokens=30,
    ),
}  # fmt: skip


def tiny_model(model_type: str, **overrides: Any) -> dict[str, Any]:
    """``model=`` of a tiny detector."""
    return copy.deepcopy({'model_type': model_type, **TINY[model_type], **overrides})


def tiny_detector(model_type: str, num_classes: int = 10, **overrides: Any) -> dict[str, Any]:
    """Config of a tiny ``TransformersDetector``; ``overrides`` are keys of it, ``model`` among them keys of the library's config."""
    model = tiny_model(model_type, **overrides.pop('model', {}))
    preprocessor = dict(
        type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True, pad_size_divisor=32
    )
    return (
        dict(type='TransformersDetector', model=model, num_classes=num_classes, data_preprocessor=preprocessor)
        | overrides
    )


def spread_weights(detector: Any, sizes: Sequence[tuple[int, int]] = ((128, 160), (192, 128))) -> Any:
    """The detector with weights that keep features from fading, by which scores of cells and queries are far apart; statistics of norms fit."""
    generator = torch.Generator().manual_seed(0)
    norms = [part for part in detector.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for part in detector.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            part.weight.data.normal_(std=part.weight[0].numel() ** -0.5, generator=generator)
            if part.bias is not None:
                part.bias.data.normal_(std=0.1, generator=generator)
    detector.eval()
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for size in sizes:
            detector(torch.randn(2, 3, *size, generator=generator), mode='tensor')
    return detector.eval()


# ------------------------------------------------------------------------------------------------ backbones

_PYRAMID: dict[str, Any] = dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1])
_SWIN: dict[str, Any] = dict(embed_dim=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 3, 4], window_size=4, image_size=64)
_PLAIN: dict[str, Any] = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, image_size=64, patch_size=16)

# model_type -> keys of model= of a TransformersBackbone with 0.01 to 0.25 million parameters.
TINY_BACKBONES: dict[str, dict[str, Any]] = {
    'convnext': _PYRAMID,
    'convnextv2': _PYRAMID,
    'dinov3_convnext': _PYRAMID,
    'swin': _SWIN,
    'swinv2': _SWIN,
    'maskformer-swin': _SWIN,
    'hgnet_v2': {name: value for name, value in HGNET.items() if name not in ('model_type', 'out_indices')},
    'resnet': dict(RESNET, embedding_size=8),
    'rt_detr_resnet': RESNET,
    'textnet': dict(
        stem_out_channels=8, hidden_sizes=[8, 8, 16, 16, 24], image_size=[64, 64], conv_layer_strides=[[2], [2, 1], [2], [2]],
        conv_layer_kernel_sizes=[[[3, 3]], [[3, 3], [1, 3]], [[3, 3]], [[3, 3]]],
    ),
    'pvt_v2': dict(image_size=64, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, num_attention_heads=[1, 2, 2, 4]),
    'focalnet': dict(image_size=64, embed_dim=8, hidden_sizes=[16, 32, 64, 64], depths=[1] * 4),
    'bit': dict(hidden_sizes=[128] * 4, depths=[1] * 4, embedding_size=32),
    'dinov2': dict(_PLAIN, mlp_ratio=2),
    'dinov3_vit': dict(_PLAIN, intermediate_size=96),
    'beit': dict(_PLAIN, intermediate_size=96),
    'vitdet': dict(_PLAIN, mlp_ratio=2, window_size=2, window_block_indices=[0, 1]),
    'lw_detr_vit': dict(_PLAIN, mlp_ratio=2, pretrain_image_size=64, num_windows=4, window_block_indices=[0, 2]),
    'rf_detr_dinov2': dict(_PLAIN, mlp_ratio=2, num_windows=2),
}  # fmt: skip


def tiny_backbone(model_type: str, **options: Any) -> dict[str, Any]:
    """Config of a tiny ``TransformersBackbone``; ``options`` are its arguments, ``model`` among them further keys of the library's config."""
    model = {'model_type': model_type, **TINY_BACKBONES[model_type], **options.pop('model', {})}
    return copy.deepcopy(dict(type='TransformersBackbone', model=model, **options))


def tiny_gfl(model_type: str, strides: list[int], neck: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Config of a GFL with a tiny backbone, for three classes; ``strides`` are those of its head, ``options`` those of the backbone."""
    head = dict(
        type='GFLHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1, reg_max=8, norm_cfg=None,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=strides),
    )  # fmt: skip
    preprocessor = dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)
    return dict(
        type='GFL',
        data_preprocessor=preprocessor,
        backbone=tiny_backbone(model_type, **options),
        neck=dict(neck, out_channels=8),
        bbox_head=head,
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
        test_cfg=dict(
            nms_pre=40, score_thr=0.1, nms=dict(type='nms', iou_threshold=0.6), max_per_img=30, min_bbox_size=0
        ),
    )
