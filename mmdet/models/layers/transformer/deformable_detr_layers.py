"""Encoder and decoder of Deformable DETR (Zhu et al., ICLR 2021, arXiv 2010.04159).

Naming: B images, Q queries, L levels, S tokens of all levels, C channels.
"""

from typing import Any

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmdet.errors import ArgumentError, ModelInputError
from mmdet.ops import MSDeformAttn

from .bricks import MultiheadAttention, recomputed
from .detr_layers import (
    DetrTransformerDecoder,
    DetrTransformerDecoderLayer,
    DetrTransformerEncoder,
    DetrTransformerEncoderLayer,
)
from .utils import inverse_sigmoid


class MultiScaleDeformableAttention(MSDeformAttn):
    """:class:`mmdet.ops.MSDeformAttn` with the arguments of mmcv's class of this name: positions, a mask, dropout and a shortcut.

    Args:
        embed_dims: C.
        num_heads, num_levels, num_points: heads, levels, and samples of one head in one level.
        im2col_step: not used.
        dropout: dropout of the output.
        batch_first: sequences are (B, length, C), otherwise (length, B, C).
        norm_cfg, init_cfg: not used.
        value_proj_ratio: width of the projected values relative to C.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
        value_proj_ratio: float = 1.0,
    ):
        sizes = dict(embed_dims=embed_dims, num_heads=num_heads, num_levels=num_levels, num_points=num_points)
        super().__init__(**sizes, value_ratio=value_proj_ratio)
        self.embed_dims, self.batch_first, self.dropout = embed_dims, batch_first, nn.Dropout(dropout)

    init_weights = MSDeformAttn.reset_parameters

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Sum of the samples around the reference points, added to ``identity``.

        Args:
            query: (B, Q, C), or (Q, B, C) without ``batch_first``.
            key: not used: weights come from the queries alone.
            value: (B, S, C); None: the queries.
            identity: what the result is added to; None: the queries without their positions.
            query_pos: positions, added to the queries.
            key_padding_mask: (B, S), true where a token is padding; it counts as 0.
            reference_points: (B, Q, L, 2) x and y in [0, 1], or (B, Q, L, 4) boxes x, y, w, h, whose size scales the offsets.
            spatial_shapes: (L, 2) height and width of each level.
            level_start_index, kwargs: not used: they follow from the shapes.

        Returns:
            The shape of ``query``.
        """
        if reference_points is None or spatial_shapes is None:
            raise ModelInputError('reference_points and spatial_shapes are needed')
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        shapes = [(int(h), int(w)) for h, w in spatial_shapes]
        out = self.sample(query, reference_points, value, shapes, key_padding_mask)
        return self.dropout(out if self.batch_first else out.transpose(0, 1)) + identity


class DeformableDetrTransformerEncoderLayer(DetrTransformerEncoderLayer):
    """A layer of :class:`DetrTransformerEncoder` whose attention is deformable; ``self_attn_cfg`` configures that."""

    def _init_layers(self) -> None:
        attention = self.self_attn = MultiScaleDeformableAttention(**self.self_attn_cfg)
        self._add_rest(attention.embed_dims, norms=2)


class DeformableDetrTransformerDecoderLayer(DetrTransformerDecoderLayer):
    """A layer of :class:`DetrTransformerDecoder` whose attention to the keys is deformable; ``cross_attn_cfg`` configures that."""

    def _init_layers(self) -> None:
        self.self_attn = MultiheadAttention(**self.self_attn_cfg)
        attention = self.cross_attn = MultiScaleDeformableAttention(**self.cross_attn_cfg)
        self._add_rest(attention.embed_dims, norms=3)


class DeformableDetrTransformerEncoder(DetrTransformerEncoder):
    """Deformable encoder layers; every token samples around its own place in every level."""

    layer_type = DeformableDetrTransformerEncoderLayer

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        query_pos: Tensor,
        key_padding_mask: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        valid_ratios: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """All layers.

        Args:
            query: (B, S, C), the tokens of all levels one after the other.
            query_pos: (B, S, C), their positions.
            key_padding_mask: (B, S), true where a token is padding.
            spatial_shapes: (L, 2) height and width of each level.
            level_start_index: (L,) first token of each level.
            valid_ratios: (B, L, 2) share of the width and of the height of each level that is image.
            kwargs: further arguments of the attention.

        Returns:
            (B, S, C).
        """
        points = self.get_encoder_reference_points(spatial_shapes, valid_ratios, device=query.device)
        options = dict(
            query_pos=query_pos, key_padding_mask=key_padding_mask, spatial_shapes=spatial_shapes,
            level_start_index=level_start_index, valid_ratios=valid_ratios, reference_points=points, **kwargs,
        )  # fmt: skip
        for index, layer in enumerate(self.layers):
            query = recomputed(layer, index < self.num_cp, query, **options)
        return query

    @staticmethod
    def get_encoder_reference_points(spatial_shapes: Tensor, valid_ratios: Tensor, device: torch.device) -> Tensor:
        """(B, S, L, 2): x and y of each token's centre in the image part of its level, carried over to every level."""
        points = []
        for level, (height, width) in enumerate(spatial_shapes.tolist()):
            y, x = (torch.arange(size, device=device, dtype=torch.float32) + 0.5 for size in (height, width))
            y, x = torch.meshgrid(y, x, indexing='ij')
            extent = valid_ratios[:, None, level] * valid_ratios.new_tensor([width, height])
            points.append(torch.stack((x.flatten(), y.flatten()), dim=-1) / extent)  # (B, height * width, 2)
        return torch.cat(points, dim=1)[:, :, None] * valid_ratios[:, None]


class DeformableDetrTransformerDecoder(DetrTransformerDecoder):
    """Deformable decoder layers; with ``reg_branches`` each layer moves the reference points of the next. ``post_norm_cfg`` must be None."""

    layer_type = DeformableDetrTransformerDecoderLayer

    def _init_layers(self) -> None:
        if self.post_norm_cfg is not None:
            raise ArgumentError(
                'must be None: the layers end with a norm', field='post_norm_cfg', received=self.post_norm_cfg
            )
        super()._init_layers()

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        query_pos: Tensor,
        value: Tensor,
        key_padding_mask: Tensor,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        valid_ratios: Tensor,
        reg_branches: ModuleList | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """All layers.

        Args:
            query, query_pos: (B, Q, C), queries and their positions.
            value: (B, S, C), the tokens of all levels.
            key_padding_mask: (B, S), true where a token is padding.
            reference_points: (B, Q, 2) x and y, or (B, Q, 4) boxes x, y, w, h, in [0, 1] of the image.
            spatial_shapes: (L, 2) height and width of each level.
            level_start_index: (L,) first token of each level.
            valid_ratios: (B, L, 2) share of the width and of the height of each level that is image.
            reg_branches: for each layer a module from (B, Q, C) to (B, Q, 4), offsets of boxes in log-odds.
            kwargs: further arguments of the attentions.

        Returns:
            Queries (num_layers, B, Q, C) and reference points (num_layers, B, Q, 2 or 4) after each layer; without ``return_intermediate`` those
            after the last one, (B, Q, C) and (B, Q, 2 or 4).
        """
        outs, points = [], []
        for index, layer in enumerate(self.layers):
            size = reference_points.shape[-1]
            if size not in (2, 4):
                received = tuple(reference_points.shape)
                raise ModelInputError('must be (B, Q, 2) or (B, Q, 4)', field='reference_points', received=received)
            places = reference_points[:, :, None] * valid_ratios.repeat(1, 1, size // 2)[:, None]
            query = layer(
                query,
                query_pos=query_pos,
                value=value,
                key_padding_mask=key_padding_mask,
                spatial_shapes=spatial_shapes,
                level_start_index=level_start_index,
                valid_ratios=valid_ratios,
                reference_points=places,
                **kwargs,
            )
            if reg_branches is not None:
                moved = reg_branches[index](query)
                odds = inverse_sigmoid(reference_points)
                moved = torch.cat((moved[..., :size] + odds, moved[..., size:]), dim=-1)
                reference_points = moved.sigmoid().detach()
            outs.append(query)
            points.append(reference_points)
        if self.return_intermediate:
            return torch.stack(outs), torch.stack(points)
        return outs[-1], points[-1]
