"""Swin Transformer (Liu et al., ICCV 2021, arXiv 2103.14030).

Naming: B images, N = h * w tokens, C channels, M heads, D = C / M, s the side of a window, W windows of an image.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.drop import build_dropout
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmdet.errors import ArgumentError, CheckpointError
from mmdet.registry import MODELS
from mmdet.utils.tracing import tokens_to_map

from ..layers.transformer.bricks import FFN, PatchEmbed, PatchMerging
from .freezing import FreezableBackbone
from .pretrained import pretrained_cfg, pretrained_tensors
from .vit import reset_vit_layer, run_recomputed

Grid = tuple[int, int]
_GELU, _LN = dict(type='GELU'), dict(type='LN')  # never written to


def _relative_index(window_hw: Grid) -> Tensor:
    """(N, N) row of the bias table for each pair of places of a window, by their vertical and horizontal distance."""
    h, w = window_hw
    places = torch.cartesian_prod(torch.arange(h), torch.arange(w)).view(-1, 2)
    distance = places[:, None] - places[None] + torch.tensor([h - 1, w - 1])
    return distance[..., 0] * (2 * w - 1) + distance[..., 1]


class WindowMSA(BaseModule):
    """Multi-head self-attention inside a window, with a learned bias for each relative position.

    Args:
        embed_dims: C.
        num_heads: M.
        window_size: (height, width) of the window, in tokens.
        qkv_bias: whether the projection to queries, keys and values has a bias.
        qk_scale: factor of the logits; None: ``D ** -0.5``.
        attn_drop_rate, proj_drop_rate: dropout of the attention weights and of the output.
        init_cfg: not used; :meth:`init_weights` sets the bias table.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: Grid,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ArgumentError(
                f'must be a multiple of num_heads = {num_heads}', field='embed_dims', received=embed_dims
            )
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.window_size: Grid = (window_size[0], window_size[1])
        self.scale = qk_scale or (embed_dims // num_heads) ** -0.5
        rows = (2 * window_size[0] - 1) * (2 * window_size[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        self.register_buffer('relative_position_index', _relative_index(self.window_size))
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attn_drop_rate)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def init_weights(self) -> None:
        """Small random biases."""
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend inside each window.

        Args:
            x: (B * W, s * s, C), the windows of an image one after the other.
            mask: (W, s * s, s * s), added to the logits.

        Returns:
            The shape of ``x``.
        """
        tokens, windows = x.shape[1], 1 if mask is None else mask.shape[0]
        # (3, B, W * M, N, D): windows beside heads, so that a mask of each window is one of each head.
        qkv = self.qkv(x).view(-1, windows, tokens, 3, self.num_heads, x.shape[-1] // self.num_heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)
        index = self.relative_position_index.flatten()
        bias = self.relative_position_bias_table[index].view(tokens, tokens, -1).permute(2, 0, 1)  # (M, N, N)
        if mask is not None:
            bias = (bias + mask[:, None].to(bias.dtype)).flatten(0, 1)
        drop = self.attn_drop.p if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), dropout_p=drop, scale=self.scale)
        out = out.unflatten(1, (windows, self.num_heads)).transpose(2, 3).reshape(x.shape)
        return self.proj_drop(self.proj(out))

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Resize the bias table of another window size, in place."""
        key, own = f'{prefix}relative_position_bias_table', self.relative_position_bias_table
        table = state_dict.get(key)
        if table is not None and table.dim() == 2 and len(table) != len(own):
            state_dict[key] = _resize_bias_table(table, self.window_size, key)
            state_dict[f'{prefix}relative_position_index'] = self.relative_position_index
        return []

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        self.adapt_state_dict(state_dict, prefix)  # again for those who load without the checkpoint room
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _resize_bias_table(table: Tensor, window_hw: Grid, name: str) -> Tensor:
    """Bicubic resize of a bias table ((2 s - 1)^2, M) of a square window to the windows of this model."""
    side = round(len(table) ** 0.5)
    if side * side != len(table):
        raise CheckpointError('must have (2 s - 1) * (2 s - 1) rows', record=name, received=tuple(table.shape))
    size = (2 * window_hw[0] - 1, 2 * window_hw[1] - 1)
    grid = table.float().t().reshape(1, -1, side, side)
    resized = F.interpolate(grid, size=size, mode='bicubic', align_corners=False)[0].flatten(1).t()
    print_log(f'{name} resized from {tuple(table.shape)} to {tuple(resized.shape)}', logger='current')
    return resized.to(table.dtype)


class ShiftWindowMSA(BaseModule):
    """Cut a map into windows, which may be shifted, attend inside each, and put them together again.

    The map is padded with zeros at the bottom and the right to whole windows. With a shift, the parts of the image that meet in a window only
    because the map is rolled do not see each other.

    Args:
        embed_dims, num_heads, qkv_bias, qk_scale, attn_drop_rate, proj_drop_rate: see :class:`WindowMSA`.
        window_size: s.
        shift_size: shift of the windows in tokens, from 0 to below s.
        dropout_layer: config of the layer that the output goes through.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        shift_size: int = 0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0,
        proj_drop_rate: float = 0,
        dropout_layer: dict = dict(type='DropPath', drop_prob=0.0),  # noqa: B006  (read only)
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not 0 <= shift_size < window_size:
            raise ArgumentError(f'must be in [0, {window_size})', field='shift_size', received=shift_size)
        self.window_size, self.shift_size = window_size, shift_size
        sizes = (embed_dims, num_heads, to_2tuple(window_size))
        self.w_msa = WindowMSA(*sizes, qkv_bias, qk_scale, attn_drop_rate, proj_drop_rate)
        self.drop = build_dropout(dropout_layer)

    def forward(self, query: Tensor, hw_shape: Grid) -> Tensor:
        """Attend over ``query`` (B, h * w, C), with h and w in ``hw_shape``; returns the same shape."""
        B, N, C = query.shape
        (h, w), shift = hw_shape, self.shift_size
        if h * w != N:
            raise ArgumentError(f'must have {h} x {w} tokens', field='query', received=tuple(query.shape))
        x = F.pad(query.view(B, h, w, C), (0, 0, 0, -w % self.window_size, 0, -h % self.window_size))
        padded, mask = (x.shape[1], x.shape[2]), None
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
            mask = self._shift_mask(padded, x.device)
        windows = self.w_msa(self.window_partition(x).flatten(1, 2), mask)
        x = self.window_reverse(windows.view(-1, self.window_size, self.window_size, C), *padded)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return self.drop(x[:, :h, :w].reshape(B, N, C))

    def _shift_mask(self, padded_hw: Grid, device: torch.device) -> Tensor:
        """(W, s * s, s * s): -100 between places of a window that are not neighbours in the image, otherwise 0."""
        parts = []
        for size in padded_hw:
            place = torch.arange(size, device=device)
            parts.append((place >= size - self.window_size).int() + (place >= size - self.shift_size).int())
        region = 3 * parts[0][:, None] + parts[1]
        windows = self.window_partition(region[None, ..., None]).flatten(1)
        return (windows[:, None] != windows[:, :, None]) * -100.0

    def window_reverse(self, windows: Tensor, H: int, W: int) -> Tensor:
        """Windows (B * W, s, s, C) to maps (B, H, W, C)."""
        s = self.window_size
        x = windows.view(-1, H // s, W // s, s, s, windows.shape[-1])
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, H, W, windows.shape[-1])

    def window_partition(self, x: Tensor) -> Tensor:
        """Maps (B, H, W, C) to windows (B * W, s, s, C)."""
        B, H, W, C = x.shape
        s = self.window_size
        return x.view(B, H // s, s, W // s, s, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, s, s, C)


class SwinBlock(BaseModule):
    """Attention in windows, then a multilayer perceptron, each after a norm and with a shortcut.

    Args:
        embed_dims, num_heads, window_size, qkv_bias, qk_scale, attn_drop_rate: see :class:`ShiftWindowMSA`.
        feedforward_channels: hidden width of the perceptron.
        shift: shift the windows by half their side.
        drop_rate: dropout of the projections.
        drop_path_rate: probability that a sample skips a branch.
        act_cfg, norm_cfg: configs of activation and norms.
        with_cp: recompute the block in the backward pass to save memory.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        window_size: int = 7,
        shift: bool = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        act_cfg: dict = _GELU,
        norm_cfg: dict = _LN,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.with_cp, skip = with_cp, dict(type='DropPath', drop_prob=drop_path_rate)
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        rates = (qkv_bias, qk_scale, attn_drop_rate, drop_rate)
        self.attn = ShiftWindowMSA(embed_dims, num_heads, window_size, window_size // 2 if shift else 0, *rates, skip)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = FFN(embed_dims, feedforward_channels, 2, act_cfg, drop_rate, skip, add_identity=True)

    def forward(self, x: Tensor, hw_shape: Grid) -> Tensor:
        """(B, h * w, C) to the same shape."""
        return run_recomputed(self.with_cp, self._forward, x, hw_shape)

    def _forward(self, x: Tensor, hw_shape: Grid) -> Tensor:
        x = x + self.attn(self.norm1(x), hw_shape)
        return self.ffn(self.norm2(x), identity=x)


class SwinBlockSequence(BaseModule):
    """The blocks of one stage, every second one with shifted windows, and what makes the map smaller after them.

    Args:
        embed_dims, num_heads, feedforward_channels, window_size, qkv_bias, qk_scale, drop_rate, attn_drop_rate, act_cfg, norm_cfg, with_cp:
            see :class:`SwinBlock`.
        depth: number of blocks.
        drop_path_rate: one rate, or one for each block.
        downsample: module called with tokens and (h, w) after the blocks, or None.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        depth: int,
        window_size: int = 7,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float | list[float] = 0.0,
        downsample: nn.Module | None = None,
        act_cfg: dict = _GELU,
        norm_cfg: dict = _LN,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        rates = list(drop_path_rate) if isinstance(drop_path_rate, Sequence) else [drop_path_rate] * depth
        if len(rates) != depth:
            message = f'must be one rate or one for each of the {depth} blocks'
            raise ArgumentError(message, field='drop_path_rate', received=drop_path_rate)
        sizes = (embed_dims, num_heads, feedforward_channels, window_size)
        options: dict = dict(qkv_bias=qkv_bias, qk_scale=qk_scale, drop_rate=drop_rate, attn_drop_rate=attn_drop_rate)
        options.update(act_cfg=act_cfg, norm_cfg=norm_cfg, with_cp=with_cp)
        self.blocks = nn.ModuleList(
            SwinBlock(*sizes, shift=index % 2 == 1, drop_path_rate=rate, **options) for index, rate in enumerate(rates)
        )
        self.downsample = downsample

    def forward(self, x: Tensor, hw_shape: Grid) -> tuple[Tensor, Grid, Tensor, Grid]:
        """(B, h * w, C) to the tokens after the downsampling, their (h, w), and both before it."""
        for block in self.blocks:
            x = block(x, hw_shape)
        if self.downsample is None:
            return x, hw_shape, x, hw_shape
        return (*self.downsample(x, hw_shape), x, hw_shape)


@MODELS.register_module()
class SwinTransformer(FreezableBackbone):
    """Swin Transformer backbone; its maps have the strides 4, 8, 16, 32. Images of any size are padded inside.

    Args:
        pretrain_img_size: image size of the pretraining, a number or (height, width); sets the table of absolute positions.
        in_channels: channels of the image.
        embed_dims: C of the first stage; it doubles with each stage.
        patch_size: side of a patch, in pixels; also its stride.
        window_size: s.
        mlp_ratio: hidden width of the perceptrons over C.
        depths, num_heads: blocks and heads of each stage.
        strides: stride of the patches, then of the downsampling before each further stage.
        out_indices: stages whose outputs, after a norm each, are returned.
        qkv_bias, qk_scale: see :class:`WindowMSA`.
        patch_norm: a norm after the projection of the patches.
        drop_rate, attn_drop_rate: dropout of projections and of attention weights.
        drop_path_rate: drop-path probability of the last block; it grows linearly from 0 at the first.
        use_abs_pos_embed: add learned absolute positions; the table is resized to the image.
        act_cfg, norm_cfg: configs of activations and norms.
        with_cp: recompute blocks in the backward pass to save memory.
        pretrained: old form of ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.
        convert_weights: the pretrained file has the names of the original implementation (:func:`swin_converter`).
        frozen_stages: the patches and this many stages get no gradient and stay in eval mode; 0 freezes the patches only, -1 nothing.
        init_cfg: initialisation; ``Pretrained`` takes a backbone's or a classifier's file, its tables of positions of any size.

    Raises:
        ArgumentError: settings that contradict each other; an AssertionError, too.
    """

    norm_eval = False

    def __init__(
        self,
        pretrain_img_size: int | Grid = 224,
        in_channels: int = 3,
        embed_dims: int = 96,
        patch_size: int = 4,
        window_size: int = 7,
        mlp_ratio: int = 4,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: dict = _GELU,
        norm_cfg: dict = _LN,
        with_cp: bool = False,
        pretrained: str | None = None,
        convert_weights: bool = False,
        frozen_stages: int = -1,
        init_cfg: dict | None = None,
    ):
        super().__init__(pretrained_cfg(pretrained, init_cfg))
        size_hw = to_2tuple(pretrain_img_size)
        if len(size_hw) != 2:
            message = 'must be one number or (height, width)'
            raise ArgumentError(message, field='pretrain_img_size', received=pretrain_img_size)
        if strides[0] != patch_size:
            raise ArgumentError(f'must begin with patch_size = {patch_size}', field='strides', received=strides)
        if not len(depths) == len(num_heads) == len(strides) > max(out_indices):
            received = dict(depths=depths, num_heads=num_heads, strides=strides, out_indices=out_indices)
            raise ArgumentError('need one value for each stage, out_indices below their number', received=received)
        self.convert_weights, self.frozen_stages = convert_weights, frozen_stages
        self.out_indices, self.use_abs_pos_embed = tuple(out_indices), use_abs_pos_embed
        patch_norm_cfg = norm_cfg if patch_norm else None
        self.patch_embed = PatchEmbed(
            in_channels, embed_dims, 'Conv2d', kernel_size=patch_size, stride=strides[0], norm_cfg=patch_norm_cfg
        )
        if use_abs_pos_embed:
            self.table_hw = (size_hw[0] // patch_size, size_hw[1] // patch_size)
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.table_hw[0] * self.table_hw[1], embed_dims))
        self.drop_after_pos = nn.Dropout(drop_rate)
        rates = [drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        options: dict = dict(window_size=window_size, qkv_bias=qkv_bias, qk_scale=qk_scale, drop_rate=drop_rate)
        options.update(attn_drop_rate=attn_drop_rate, act_cfg=act_cfg, norm_cfg=norm_cfg, with_cp=with_cp)
        self.stages, self.num_features = nn.ModuleList(), [embed_dims * 2**i for i in range(len(depths))]
        for i, (width, depth, heads) in enumerate(zip(self.num_features, depths, num_heads)):
            down = None
            if i < len(depths) - 1:
                down = PatchMerging(width, 2 * width, stride=strides[i + 1], norm_cfg=patch_norm_cfg)
            rate, rates = rates[:depth], rates[depth:]
            hidden = int(mlp_ratio * width)
            stage = SwinBlockSequence(width, heads, hidden, depth, drop_path_rate=rate, downsample=down, **options)
            self.stages.append(stage)
        for i in self.out_indices:
            self.add_module(f'norm{i}', build_norm_layer(norm_cfg, self.num_features[i])[1])
        self._freeze_stages()

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        stages = range(min(self.frozen_stages, len(self.stages)))
        norms = [getattr(self, f'norm{i}') for i in stages if i in self.out_indices]
        return [self.patch_embed, self.drop_after_pos, *norms, *(self.stages[i] for i in stages)]

    def _freeze_stages(self) -> None:
        super()._freeze_stages()
        if self.use_abs_pos_embed and self.frozen_stages >= 0:
            self.absolute_pos_embed.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to one (B, C_i, H / s_i, W / s_i), rounded up, for each stage i of ``out_indices``."""
        x, hw_shape = self.patch_embed(x)
        if self.use_abs_pos_embed:
            x = x + _resize_positions(self.absolute_pos_embed, self.table_hw, hw_shape)
        x, outs = self.drop_after_pos(x), []
        for i, stage in enumerate(self.stages):
            x, hw_shape, out, out_hw = stage(x, hw_shape)
            if i in self.out_indices:
                out = getattr(self, f'norm{i}')(out)
                outs.append(tokens_to_map(out, out_hw).contiguous())
        return tuple(outs)

    def init_weights(self) -> None:
        """Initialise as the original does, or read the file of ``init_cfg``.

        Raises:
            CheckpointError: the file lacks a tensor of the network, or has one of another shape.
        """
        for module in self.modules():
            reset_vit_layer(module)
            if isinstance(module, WindowMSA):
                module.init_weights()
        if self.use_abs_pos_embed:
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        if self.init_cfg is None:
            return
        config = self.init_cfg if isinstance(self.init_cfg, dict) else {}
        if config.get('type') != 'Pretrained' or 'checkpoint' not in config:
            message = "must be None or dict(type='Pretrained', checkpoint=...)"
            raise ArgumentError(message, field='init_cfg', received=self.init_cfg)
        filename = config['checkpoint']
        tensors: Mapping[str, Tensor] = pretrained_tensors(filename, config.get('prefix'))
        if self.convert_weights:
            tensors = swin_converter(tensors, prefix='')
        own = self.state_dict()
        # The norms of the outputs belong to detection: a classifier's file does not have them.
        missing = [name for name in own if name not in tensors and not name.startswith('norm') and 'index' not in name]
        if missing:
            message = (
                f'lacks {len(missing)} of the {len(own)} tensors of the network, the first being {missing[0]} '
                f'(convert_weights={not self.convert_weights}?)'
            )
            raise CheckpointError(message, file=filename, received=sorted(tensors)[:5])
        try:
            self.load_state_dict({name: tensor for name, tensor in tensors.items() if name in own}, strict=False)
        except RuntimeError as error:
            raise CheckpointError(f'does not fit the network: {error}', file=filename) from error
        unused = [name for name in tensors if name not in own]
        print_log(f'{filename}: {len(tensors) - len(unused)} tensors loaded, left out: {unused or "none"}', 'current')

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Resize a square table of absolute positions, in place."""
        key = f'{prefix}absolute_pos_embed'
        table = state_dict.get(key)
        if self.use_abs_pos_embed and table is not None and table.dim() == 3:
            side = round(table.shape[1] ** 0.5)
            if table.shape[1] != self.absolute_pos_embed.shape[1] and side * side == table.shape[1]:
                state_dict[key] = _resize_positions(table, (side, side), self.table_hw)
        return []

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        self.adapt_state_dict(state_dict, prefix)  # again for those who load without the checkpoint room
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _resize_positions(table: Tensor, table_hw: Grid, grid_hw: Grid) -> Tensor:
    """Bicubic resize of a table of positions (1, h * w, C)."""
    if tuple(grid_hw) == tuple(table_hw):
        return table
    grid = table.transpose(1, 2).unflatten(2, table_hw)
    resized = F.interpolate(grid.float(), size=grid_hw, mode='bicubic', align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(table.dtype)


_NEW_NAMES = (
    ('layers.', 'stages.'),
    ('attn.', 'attn.w_msa.'),
    ('mlp.fc1.', 'ffn.layers.0.0.'),
    ('mlp.fc2.', 'ffn.layers.1.'),
    ('patch_embed.proj.', 'patch_embed.projection.'),
)


def swin_converter(ckpt: Mapping[str, Tensor], prefix: str = 'backbone.') -> OrderedDict:
    """Tensors of the original implementation under the names used here, its classifier (``head.*``) left out.

    The original joins the four pixels of a merged patch in the order (0, 0), (1, 0), (0, 1), (1, 1), each with all its channels; ``unfold``
    gives for each channel the four pixels row by row.

    Args:
        ckpt: tensors by name.
        prefix: put before each name.
    """
    found = OrderedDict()
    for key, value in ckpt.items():
        if key.startswith('head'):
            continue
        name = key
        if key.startswith(('layers.', 'patch_embed.')):
            for old, new in _NEW_NAMES:
                name = name.replace(old, new, 1)
        if 'downsample.' in key and key.endswith(('reduction.weight', 'norm.weight', 'norm.bias')):
            value = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :].transpose(-1, -2).flatten(-2)
        found[prefix + name] = value
    return found
