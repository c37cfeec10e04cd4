"""Tiny models of the library transformers for tests, and the skip where it is not installed."""

import copy
import importlib.util
from typing import Any

import pytest

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
