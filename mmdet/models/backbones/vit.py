"""Plain vision transformer (https://arxiv.org/abs/2010.11929), its blocks attending in windows or over the whole image.

Parameter names are those of DeiT and timm, so that their checkpoints load; there is no class token and no final norm,
as a detector uses neither.

Letters: B images, N = h * w tokens, C channels, M heads, D = C / M.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdet.errors import CheckpointError, ConfigError, ModelInputError
from mmdet.registry import MODELS
from mmdet.utils.tracing import is_exporting, tokens_to_map

from .pretrained import pretrained_tensors


def resize_pos_embed(table: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Bicubic resize of a position table (1, 1 + n * n, C), class slot first, to (1, 1 + h * w, C)."""
    side = math.isqrt(max(table.shape[1] - 1, 0))
    if side == 0 or side * side != table.shape[1] - 1:
        message = 'must have shape (1, 1 + n * n, C): a class slot and a square grid'
        raise CheckpointError(message, field='pos_embed', received=tuple(table.shape))
    if not is_exporting() and grid_hw == (side, side):
        return table
    grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, C, n, n)
    if grid.is_cuda and torch.are_deterministic_algorithms_enabled():
        # torch has no deterministic gradient of a bicubic resize on the GPU. The resize is linear along each axis: two matrix products do the same.
        rows, columns = (_bicubic_matrix(side, size, grid) for size in grid_hw)
        grid = rows @ grid @ columns.t()
    else:
        grid = F.interpolate(grid, size=grid_hw, mode='bicubic', align_corners=False)
    return torch.cat((table[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)


def _bicubic_matrix(before: int, after: int, like: Tensor) -> Tensor:
    """Weights (after, before) of a bicubic resize along one axis, of the dtype and on the device of ``like``."""
    with torch.no_grad():
        basis = torch.eye(before, dtype=like.dtype, device=like.device)[None, :, :, None]
        return F.interpolate(basis, size=(after, 1), mode='bicubic', align_corners=False)[0, :, :, 0].t()


def check_image(image: Tensor, divisor: int) -> None:
    """Raise ModelInputError unless ``image`` is (B, 3, H, W) with H and W multiples of ``divisor``."""
    if image.dim() != 4 or any(side == 0 or side % divisor for side in image.shape[-2:]):
        message = f'must be (B, 3, H, W) with H and W multiples of {divisor} (pad_size_divisor={divisor} in the data preprocessor)'
        raise ModelInputError(message, field='image', received=tuple(image.shape))


def run_recomputed(with_cp: bool, function: Callable[..., Tensor], *args: Any) -> Tensor:
    """Call a function; with ``with_cp`` its activations are recomputed in the backward pass instead of being kept."""
    if with_cp and torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False)
    return function(*args)


class WindowAttention(nn.Module):
    """Multi-head self-attention over a grid of tokens, inside windows if ``window_size`` is given.

    The grid is padded at the bottom and the right to whole windows *after* the projection to queries, keys and values.
    Padded tokens are therefore zero keys (logit 0) and zero values, without the projection's bias, and take part in the
    softmax, as they did when the published weights were trained.

    Args:
        dim: C.
        num_heads: M.
        window_size: side of a window in tokens; None attends over the whole grid.
        qkv_bias: whether the first projection has a bias.
        attn_drop, proj_drop: dropout of the attention weights and of the output.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        window_size: int | None = None,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ):
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f'must be a multiple of num_heads = {num_heads}', field='embed_dim', received=dim)
        self.num_heads, self.window_size, self.attn_drop = num_heads, window_size, attn_drop
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Attend over ``x`` (B, h * w, C); returns the same shape."""
        qkv, size = self.qkv(x), self.window_size
        if size is not None:
            return self.proj_drop(self.proj(self._attend_in_windows(qkv, grid_hw, size)))
        q, k, v = qkv.reshape(*qkv.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # (B, M, N, D)
        return self.proj_drop(self.proj(self._attention(q, k, v).transpose(1, 2).flatten(2)))

    def _attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop if self.training else 0.0)

    def _attend_in_windows(self, qkv: Tensor, grid_hw: tuple[int, int], size: int) -> Tensor:
        (h, w), M = grid_hw, self.num_heads
        B, _, C3 = qkv.shape
        qkv = F.pad(qkv.view(B, h, w, C3), (0, 0, 0, -w % size, 0, -h % size))
        rows, columns = qkv.shape[1] // size, qkv.shape[2] // size
        windows = qkv.view(B, rows, size, columns, size, 3, M, C3 // (3 * M)).permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = windows.reshape(3, B * rows * columns, M, size * size, -1).unbind(0)
        out = self._attention(q, k, v).view(B, rows, columns, M, size, size, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return out.reshape(B, rows * size, columns * size, C3 // 3)[:, :h, :w].flatten(1, 2)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, *, dim: int, hidden_dim: int, drop: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class ViTBlock(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each scaled by a learned vector and subject to drop-path.

    Args:
        dim, num_heads, window_size, qkv_bias, attn_drop: see :class:`WindowAttention`.
        mlp_ratio: hidden width of the MLP relative to ``dim``.
        layer_scale: whether the branches have the learned scales ``gamma1`` and ``gamma2``, which start at 1.
        drop: dropout of the projections.
        drop_path: probability that a sample skips a branch.
        with_cp: recompute the block in the backward pass instead of keeping its activations.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        window_size: int | None = None,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        layer_scale: bool = True,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        with_cp: bool = False,
    ):
        super().__init__()
        self.with_cp = with_cp
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        options: dict[str, Any] = dict(window_size=window_size, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=drop)
        self.attn = WindowAttention(dim=dim, num_heads=num_heads, **options)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim=dim, hidden_dim=int(dim * mlp_ratio), drop=drop)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.gamma1 = nn.Parameter(torch.ones(dim)) if layer_scale else None
        self.gamma2 = nn.Parameter(torch.ones(dim)) if layer_scale else None

    def forward(self, x: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        return run_recomputed(self.with_cp, self._forward, x, grid_hw)

    def _forward(self, x: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        branch = self.attn(self.norm1(x), grid_hw)
        x = x + self.drop_path(branch if self.gamma1 is None else self.gamma1 * branch)
        branch = self.mlp(self.norm2(x))
        return x + self.drop_path(branch if self.gamma2 is None else self.gamma2 * branch)


class PatchEmbed(nn.Module):
    """Cut the image into square patches and project each: (B, 3, H, W) -> (B, C, H / p, W / p)."""

    def __init__(self, *, patch_size: int, in_channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image)


def _per_block(value: Any, depth: int, field: str) -> list:
    """One value for each block, from one for all or a sequence."""
    if not isinstance(value, Sequence):
        return [value] * depth
    if len(value) != depth:
        raise ConfigError(f'must be one value or one for each of the {depth} blocks', field=field, received=value)
    return list(value)


@MODELS.register_module()
class WindowedViT(BaseModule):
    """Vision transformer as a backbone with a single output of stride ``patch_size``.

    Args:
        pretrain_size: image side of the pretraining, in pixels; sets the position table. Tables of other sizes are
            resized when they are loaded.
        img_size: accepted for old configs; must equal ``pretrain_size`` if given.
        patch_size: side of a patch, in pixels.
        in_chans: channels of the image.
        embed_dim: C.
        depth: number of blocks.
        num_heads: M.
        mlp_ratio, qkv_bias, layer_scale: see :class:`ViTBlock`.
        drop_rate, attn_drop_rate: dropout of projections and of attention weights.
        drop_path_rate: drop-path probability of the last block; it grows linearly from 0 at the first.
        window_attn: whether a block attends in windows: one bool, or one for each block.
        window_size: side of a window in tokens: one number, or one for each block (None where the block is global).
        with_cp: recompute blocks in the backward pass (less memory, more time).
        pretrained: path or URL of a checkpoint, the same as ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
        init_cfg: mmengine initialisation; ``Pretrained`` goes through :func:`load_vit_weights`.

    Raises:
        ConfigError: settings that contradict each other.
    """

    init_cfg: dict | list[dict] | None

    def __init__(
        self,
        *,
        pretrain_size: int = 224,
        img_size: int | None = None,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        layer_scale: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        window_attn: bool | Sequence[bool] = False,
        window_size: int | None | Sequence[int | None] = 14,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        if pretrained is not None:
            if init_cfg is not None:
                raise ConfigError('cannot be given together with init_cfg', field='pretrained', received=pretrained)
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(init_cfg=init_cfg)
        if img_size not in (None, pretrain_size):
            raise ConfigError(f'must equal pretrain_size = {pretrain_size}', field='img_size', received=img_size)
        if pretrain_size < patch_size:
            message = f'must be at least patch_size = {patch_size}'
            raise ConfigError(message, field='pretrain_size', received=pretrain_size)
        windowed = _per_block(window_attn, depth, 'window_attn')
        sizes = _per_block(window_size, depth, 'window_size')
        if any(flag and not size for flag, size in zip(windowed, sizes)):
            message = 'must be a positive number where window_attn is true'
            raise ConfigError(message, field='window_size', received=window_size)

        self.patch_size, self.embed_dim, self.with_cp = patch_size, embed_dim, with_cp
        self.table_side = pretrain_size // patch_size
        self.patch_embed = PatchEmbed(patch_size=patch_size, in_channels=in_chans, dim=embed_dim)
        # The first row belonged to the class token; it stays so that checkpoints keep their shape.
        table = torch.empty(1, 1 + self.table_side**2, embed_dim)
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.pos_drop = nn.Dropout(drop_rate)
        common: dict[str, Any] = dict(
            dim=embed_dim, num_heads=num_heads, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias, layer_scale=layer_scale,
            drop=drop_rate, attn_drop=attn_drop_rate, with_cp=with_cp,
        )  # fmt: skip
        self.blocks = nn.ModuleList(
            ViTBlock(window_size=size if flag else None, drop_path=drop_path_rate * i / max(depth - 1, 1), **common)
            for i, (flag, size) in enumerate(zip(windowed, sizes))
        )

    def embed_patches(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the image's tokens (B, h * w, C), row after row, with their positions added, and (h, w)."""
        patches = self.patch_embed(image)
        h, w = patches.shape[-2:]
        positions = resize_pos_embed(self.pos_embed, (h, w))[:, 1:]
        return self.pos_drop(patches.flatten(2).transpose(1, 2) + positions), (h, w)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``image`` (B, 3, H, W): a tuple of one map (B, C, H / patch_size, W / patch_size).

        Raises:
            ModelInputError: H or W is not a multiple of ``patch_size``.
        """
        check_image(image, self.patch_size)
        x, (h, w) = self.embed_patches(image)
        for block in self.blocks:
            x = block(x, (h, w))
        return (tokens_to_map(x, (h, w)),)

    def init_weights(self) -> None:
        """Initialise as DeiT does and apply ``init_cfg``, its ``Pretrained`` entry last (:func:`load_vit_weights`)."""
        given = self.init_cfg
        configs = [given] if isinstance(given, dict) else given or []
        self._reset_parameters()
        self.init_cfg = [config for config in configs if config['type'] != 'Pretrained']
        try:
            super().init_weights()
        finally:
            self.init_cfg = given
        for config in configs:
            if config['type'] == 'Pretrained':
                load_vit_weights(self, config['checkpoint'], prefix=config.get('prefix'))

    def _reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in (self.patch_embed, self.blocks):
            module.apply(reset_vit_layer)

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Resize a position table of another size, in place."""
        key = f'{prefix}pos_embed'
        table = state_dict.get(key)
        if table is not None and table.dim() == 3 and table.shape[1] != self.pos_embed.shape[1]:
            resized = resize_pos_embed(table.float(), (self.table_side, self.table_side)).to(table.dtype)
            print_log(f'{key} resized from {tuple(table.shape)} to {tuple(resized.shape)}', logger='current')
            state_dict[key] = resized
        return []

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        self.adapt_state_dict(state_dict, prefix)  # again for those who load without the checkpoint room
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def reset_vit_layer(module: nn.Module) -> None:
    """Initialise a layer as DeiT does: weights from a normal distribution of 0.02 cut at +-2, biases 0, layer norms the identity."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def load_vit_weights(model: WindowedViT, filename: str, prefix: str | None = None) -> list[str]:
    """Load ImageNet weights of a plain ViT (DeiT, timm), or the backbone of a detector checkpoint, into ``model``.

    The tensors may lie at the top level, or under ``model`` or ``state_dict``; the prefixes ``module.`` and ``backbone.``
    are removed. Tensors of the classifier (``cls_token``, ``norm.*``, ``head.*``) are left out and logged; ``gamma1``,
    ``gamma2`` and others that the file lacks keep their initial values. A position table of another size is resized.

    Args:
        model: the backbone to fill.
        filename: path or URL, read by mmengine's ``CheckpointLoader``.
        prefix: take only the tensors whose names start with this, and remove it.

    Returns:
        The names in the file that the model does not have.

    Raises:
        CheckpointError: the file has no weights for the patch embedding or a block, or one of the wrong shape.
    """
    tensors = pretrained_tensors(filename, prefix)
    own, parts = model.state_dict(), ('patch_embed.', 'pos_embed', 'blocks.')
    required = [name for name in own if name.startswith(parts) and '.gamma' not in name]
    missing = [name for name in required if name not in tensors]
    if missing:
        message = (
            f'lacks {len(missing)} of the {len(required)} tensors of the transformer, the first being {missing[0]}'
        )
        raise CheckpointError(message, file=filename, received=sorted(tensors)[:5])
    for name, tensor in tensors.items():
        fits = name not in own or tensor.shape == own[name].shape
        resizable = name == 'pos_embed' and tensor.dim() == 3 and tensor.shape[-1] == model.embed_dim
        if not (fits or resizable):
            message = f'must have shape {tuple(own[name].shape)}'
            raise CheckpointError(message, file=filename, record=name, received=tuple(tensor.shape))
    unused = [name for name in tensors if name not in own]
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name in own}, strict=False)
    loaded = len(tensors) - len(unused)
    print_log(f'{filename}: {loaded} tensors loaded, left out: {unused or "none"}', logger='current')
    return unused
