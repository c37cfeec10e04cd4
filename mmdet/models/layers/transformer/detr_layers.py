"""Encoder and decoder of DETR (Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020, arXiv 2005.12872).

Naming: B images, Q queries, S keys, C channels. Sequences are (B, length, C); the position of a query or key is added to it wherever it is
compared, not to the values.
"""

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmdet.errors import ArgumentError

from .bricks import FFN, MultiheadAttention, recomputed

# Never written to.
ATTENTION = dict(embed_dims=256, num_heads=8, dropout=0.0)
BATCH_FIRST = dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True)
FEED_FORWARD = dict(
    embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True)
)
LAYER_NORM = dict(type='LN')


class _TransformerLayer(BaseModule):
    """What encoder and decoder layers share: attentions, a feed-forward network and a norm after each of them.

    Args:
        attention_cfgs: config of each attention by the name of its argument, in the order in which they run.
        ffn_cfg: config of :class:`mmcv.cnn.bricks.transformer.FFN`.
        norm_cfg: config of the norms.
        init_cfg: initialisation.
    """

    def __init__(self, attention_cfgs: dict[str, dict], ffn_cfg: dict, norm_cfg: dict, init_cfg: dict | None):
        super().__init__(init_cfg)
        for name, cfg in attention_cfgs.items():
            # Sequences here begin with the batch, whatever the default of the attention's class is.
            if 'batch_first' not in cfg:
                cfg = dict(cfg, batch_first=True)
            elif not cfg['batch_first']:
                raise ArgumentError('must be True', field=f'{name}.batch_first', received=cfg['batch_first'])
            setattr(self, name, dict(cfg))
        self.ffn_cfg, self.norm_cfg = ffn_cfg, norm_cfg
        self._init_layers()

    def _init_layers(self) -> None:
        raise NotImplementedError

    def _add_rest(self, embed_dims: int, norms: int) -> None:
        """The feed-forward network and so many norms."""
        self.embed_dims = embed_dims
        self.ffn = FFN(**self.ffn_cfg)
        self.norms = ModuleList(build_norm_layer(self.norm_cfg, embed_dims)[1] for _ in range(norms))


class DetrTransformerEncoderLayer(_TransformerLayer):
    """Self-attention and a feed-forward network, a norm after each.

    Args:
        self_attn_cfg: config of :class:`mmcv.cnn.bricks.transformer.MultiheadAttention`.
        ffn_cfg, norm_cfg: configs of the feed-forward network and of the norms.
        init_cfg: initialisation.
    """

    self_attn_cfg: dict

    def __init__(
        self,
        self_attn_cfg: dict = ATTENTION,
        ffn_cfg: dict = FEED_FORWARD,
        norm_cfg: dict = LAYER_NORM,
        init_cfg: dict | None = None,
    ):
        super().__init__(dict(self_attn_cfg=self_attn_cfg), ffn_cfg, norm_cfg, init_cfg)

    def _init_layers(self) -> None:
        self.self_attn: nn.Module = MultiheadAttention(**self.self_attn_cfg)
        self._add_rest(self.self_attn.embed_dims, norms=2)

    def forward(self, query: Tensor, query_pos: Tensor, key_padding_mask: Tensor, **kwargs: Any) -> Tensor:
        """One layer.

        Args:
            query: (B, Q, C).
            query_pos: (B, Q, C), their positions.
            key_padding_mask: (B, Q), true where a query is padding and is not to be seen.
            kwargs: further arguments of the attention.

        Returns:
            (B, Q, C).
        """
        query = self.self_attn(
            query, query, query, query_pos=query_pos, key_pos=query_pos, key_padding_mask=key_padding_mask, **kwargs
        )
        return self.norms[1](self.ffn(self.norms[0](query)))


class DetrTransformerDecoderLayer(_TransformerLayer):
    """Self-attention of the queries, attention to the keys, and a feed-forward network, a norm after each.

    Args:
        self_attn_cfg, cross_attn_cfg: configs of :class:`mmcv.cnn.bricks.transformer.MultiheadAttention`.
        ffn_cfg, norm_cfg: configs of the feed-forward network and of the norms.
        init_cfg: initialisation.
    """

    self_attn_cfg: dict
    cross_attn_cfg: dict

    def __init__(
        self,
        self_attn_cfg: dict = BATCH_FIRST,
        cross_attn_cfg: dict = BATCH_FIRST,
        ffn_cfg: dict = FEED_FORWARD,
        norm_cfg: dict = LAYER_NORM,
        init_cfg: dict | None = None,
    ):
        attentions = dict(self_attn_cfg=self_attn_cfg, cross_attn_cfg=cross_attn_cfg)
        super().__init__(attentions, ffn_cfg, norm_cfg, init_cfg)

    def _init_layers(self) -> None:
        self.self_attn: nn.Module = MultiheadAttention(**self.self_attn_cfg)
        self.cross_attn: nn.Module = MultiheadAttention(**self.cross_attn_cfg)
        self._add_rest(self.self_attn.embed_dims, norms=3)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        self_attn_mask: Tensor | None = None,
        cross_attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """One layer.

        Args:
            query: (B, Q, C).
            key: (B, S, C); None: the queries.
            value: (B, S, C); None: the keys.
            query_pos, key_pos: positions of queries and keys, of their shapes.
            self_attn_mask, cross_attn_mask: true (or -inf) where a query does not see another, or a key; (Q, Q) and (Q, S).
            key_padding_mask: (B, S), true where a key is padding.
            kwargs: further arguments of the attention to the keys.

        Returns:
            (B, Q, C).
        """
        query = self.self_attn(
            query, query, query, query_pos=query_pos, key_pos=query_pos, attn_mask=self_attn_mask, **kwargs
        )
        query = self.cross_attn(
            query=self.norms[0](query),
            key=key,
            value=value,
            query_pos=query_pos,
            key_pos=key_pos,
            attn_mask=cross_attn_mask,
            key_padding_mask=key_padding_mask,
            **kwargs,
        )
        return self.norms[2](self.ffn(self.norms[1](query)))


class DetrTransformerEncoder(BaseModule):
    """Encoder layers, one after the other.

    Args:
        num_layers: how many.
        layer_cfg: arguments of :class:`DetrTransformerEncoderLayer`.
        num_cp: recompute the first so many layers in the backward pass to save memory; -1: none.
        init_cfg: initialisation.
    """

    layer_type: type[DetrTransformerEncoderLayer] = DetrTransformerEncoderLayer

    def __init__(self, num_layers: int, layer_cfg: dict, num_cp: int = -1, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        if num_cp > num_layers:
            raise ArgumentError(f'must be at most num_layers = {num_layers}', field='num_cp', received=num_cp)
        self.num_layers, self.layer_cfg, self.num_cp = num_layers, layer_cfg, num_cp
        self._init_layers()

    def _init_layers(self) -> None:
        self.layers = ModuleList(self.layer_type(**self.layer_cfg) for _ in range(self.num_layers))
        self.embed_dims = self.layers[0].embed_dims

    def forward(self, query: Tensor, query_pos: Tensor, key_padding_mask: Tensor, **kwargs: Any) -> Tensor:
        """(B, Q, C) to (B, Q, C); the arguments are those of :meth:`DetrTransformerEncoderLayer.forward`."""
        for index, layer in enumerate(self.layers):
            options = dict(query_pos=query_pos, key_padding_mask=key_padding_mask, **kwargs)
            query = recomputed(layer, index < self.num_cp, query, **options)
        return query


class DetrTransformerDecoder(BaseModule):
    """Decoder layers, one after the other.

    Args:
        num_layers: how many.
        layer_cfg: arguments of :class:`DetrTransformerDecoderLayer`.
        post_norm_cfg: config of the norm of each output; None is none.
        return_intermediate: return the outputs of all layers.
        init_cfg: initialisation.
    """

    layer_type: type[DetrTransformerDecoderLayer] = DetrTransformerDecoderLayer

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict,
        post_norm_cfg: dict | None = LAYER_NORM,
        return_intermediate: bool = True,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.num_layers, self.layer_cfg, self.post_norm_cfg = num_layers, layer_cfg, post_norm_cfg
        self.return_intermediate = return_intermediate
        self._init_layers()

    def _init_layers(self) -> None:
        self.layers = ModuleList(self.layer_type(**self.layer_cfg) for _ in range(self.num_layers))
        self.embed_dims = self.layers[0].embed_dims
        norm = None if self.post_norm_cfg is None else build_norm_layer(self.post_norm_cfg, self.embed_dims)[1]
        self.post_norm = nn.Identity() if norm is None else norm

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        key_padding_mask: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """(B, Q, C) to (num_layers, B, Q, C), or (1, B, Q, C); the arguments are those of :meth:`DetrTransformerDecoderLayer.forward`."""
        outs = []
        for layer in self.layers:
            query = layer(
                query,
                key=key,
                value=value,
                query_pos=query_pos,
                key_pos=key_pos,
                key_padding_mask=key_padding_mask,
                **kwargs,
            )
            outs.append(self.post_norm(query))
        return torch.stack(outs) if self.return_intermediate else outs[-1].unsqueeze(0)
