"""ViT-Adapter (https://arxiv.org/abs/2205.08534): a plain vision transformer beside a small convolutional pyramid.

A convolutional stem (the *spatial prior*) sees the image at strides 4, 8, 16 and 32. Before each group of transformer
blocks an *injector* lets the transformer's tokens attend to the pyramid; after it an *extractor* lets the pyramid
attend to the tokens. Both use deformable attention. Parameter names are those of the published checkpoints.

Letters: B images, (h, w) the grid of stride 16, N = h * w its tokens, P = 21 N / 4 tokens of the pyramid (strides 8,
16, 32), C channels.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.backbones.vit import ViTBlock, WindowedViT, check_image, reset_vit_layer, run_recomputed
from mmdet.ops.ms_deform_attn import MSDeformAttn
from mmdet.registry import MODELS
from mmdet.utils.tracing import is_exporting, tokens_to_map


class Geometry(NamedTuple):
    """Grids and reference points of deformable attention for one input size. Points are cell centres (x, y) in [0, 1]."""

    patch_shapes: tuple[tuple[int, int], ...]  # (h, w) of the transformer's grid
    pyramid_shapes: tuple[tuple[int, int], ...]  # of strides 8, 16, 32
    patch_points: Tensor  # (1, N, 1, 2)
    pyramid_points: Tensor  # (1, P, 1, 2)


@lru_cache(maxsize=64)
def _cached_geometry(h: int, w: int, device: torch.device) -> Geometry:
    def centres(rows: int, columns: int) -> Tensor:
        y = (torch.arange(rows, dtype=torch.float32, device=device) + 0.5) / rows
        x = (torch.arange(columns, dtype=torch.float32, device=device) + 0.5) / columns
        return torch.stack((x.expand(rows, columns), y.unsqueeze(1).expand(rows, columns)), dim=-1).flatten(0, 1)

    # The cache outlives inference_mode, whose tensors could not be used in a later training step.
    with torch.inference_mode(False):
        pyramid_shapes = ((2 * h, 2 * w), (h, w), (h // 2, w // 2))
        pyramid_points = torch.cat([centres(*shape) for shape in pyramid_shapes])
        return Geometry(((h, w),), pyramid_shapes, centres(h, w)[None, :, None], pyramid_points[None, :, None])


def adapter_geometry(h: int, w: int, device: torch.device) -> Geometry:
    """Return the geometry for a grid of h x w patches; the last 64 sizes are cached (0.2 MB each at 800 x 1333)."""
    # While a graph is traced, tensors are stand-ins that must not get into the cache.
    traced = torch.compiler.is_compiling() or is_exporting()
    function = _cached_geometry.__wrapped__ if traced else _cached_geometry
    return function(h, w, device)


class AdapterBatchNorm(nn.SyncBatchNorm):
    """Batch norm over all GPUs of a distributed job; on CPU, or with one process, an ordinary batch norm.

    torch's own ``SyncBatchNorm`` refuses CPU tensors as soon as a process group exists.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            message = 'training needs more than one value per channel in every stage: use a larger image or batch'
            raise ModelInputError(message, field='ViTAdapter batch norm input', received=tuple(x.shape))
        # On the CPU, the forward of SyncBatchNorm's parent, an ordinary batch norm.
        return super().forward(x) if x.is_cuda else super(nn.SyncBatchNorm, self).forward(x)


def _conv_bn_relu(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
    return [conv, AdapterBatchNorm(out_channels), nn.ReLU(inplace=True)]


def _to_tokens(feature_map: Tensor) -> Tensor:
    return feature_map.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H * W, C)


def _to_maps(tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Split tokens (B, sum of H * W, C) into maps (B, C, H, W); views, laid out as channels_last."""
    parts = tokens.split([h * w for h, w in shapes], dim=1)
    return [tokens_to_map(part, shape) for part, shape in zip(parts, shapes)]


class SpatialPrior(nn.Module):
    """Convolutional stem: image to features of stride 4 (a map) and of strides 8, 16, 32 (tokens).

    Args:
        inplanes: channels of the stem.
        embed_dim: C.
        with_stride4: whether to compute the map of stride 4.
    """

    def __init__(self, *, inplanes: int, embed_dim: int, with_stride4: bool):
        super().__init__()
        self.with_stride4 = with_stride4
        self.stem = nn.Sequential(
            *_conv_bn_relu(3, inplanes, stride=2),
            *_conv_bn_relu(inplanes, inplanes, stride=1),
            *_conv_bn_relu(inplanes, inplanes, stride=1),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(*_conv_bn_relu(inplanes, 2 * inplanes, stride=2))
        self.conv3 = nn.Sequential(*_conv_bn_relu(2 * inplanes, 4 * inplanes, stride=2))
        self.conv4 = nn.Sequential(*_conv_bn_relu(4 * inplanes, 4 * inplanes, stride=2))
        self.fc1 = nn.Conv2d(inplanes, embed_dim, kernel_size=1)
        self.fc2 = nn.Conv2d(2 * inplanes, embed_dim, kernel_size=1)
        self.fc3 = nn.Conv2d(4 * inplanes, embed_dim, kernel_size=1)
        self.fc4 = nn.Conv2d(4 * inplanes, embed_dim, kernel_size=1)

    def forward(self, image: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        """``image`` (B, 3, H, W) -> map (B, C, H/4, W/4) or None, and three token tensors (B, cells, C)."""
        x = self.stem(image)
        stride4 = self.fc1(x) if self.with_stride4 else None
        tokens = []
        for conv, fc in ((self.conv2, self.fc2), (self.conv3, self.fc3), (self.conv4, self.fc4)):
            x = conv(x)
            tokens.append(_to_tokens(fc(x)))
        return stride4, tokens


class _DepthwiseConv(nn.Module):
    """One depthwise 3x3 kernel shared by the maps of all levels."""

    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim)

    def forward(self, tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        return torch.cat([_to_tokens(self.dwconv(level)) for level in _to_maps(tokens, shapes)], dim=1)


class ConvFFN(nn.Module):
    """Feed-forward branch of the extractor with a depthwise convolution before its GELU."""

    def __init__(self, *, dim: int, hidden_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = _DepthwiseConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(tokens), shapes)))


class Injector(nn.Module):
    """The transformer's tokens attend to the pyramid: x + gamma * attention(norm(x), norm(c))."""

    def __init__(self, *, dim: int, num_heads: int, num_points: int, value_ratio: float, init_values: float):
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.feat_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MSDeformAttn(
            embed_dims=dim, num_heads=num_heads, num_levels=3, num_points=num_points, value_ratio=value_ratio
        )
        self.gamma = nn.Parameter(torch.full((dim,), float(init_values)))

    def forward(self, x: Tensor, c: Tensor, geometry: Geometry) -> Tensor:
        attended = self.attn(self.query_norm(x), geometry.patch_points, self.feat_norm(c), geometry.pyramid_shapes)
        return x + self.gamma * attended


class Extractor(nn.Module):
    """The pyramid attends to the transformer's tokens; the feed-forward branch follows."""

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        num_points: int,
        value_ratio: float,
        with_cffn: bool,
        cffn_ratio: float,
        drop_path: float,
    ):
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.feat_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MSDeformAttn(
            embed_dims=dim, num_heads=num_heads, num_levels=1, num_points=num_points, value_ratio=value_ratio
        )
        self.with_cffn = with_cffn
        if with_cffn:
            self.ffn = ConvFFN(dim=dim, hidden_dim=int(dim * cffn_ratio))
            self.ffn_norm = nn.LayerNorm(dim, eps=1e-6)
            self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, c: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
        c = c + self.attn(self.query_norm(c), geometry.pyramid_points, self.feat_norm(x), geometry.patch_shapes)
        if self.with_cffn:
            c = c + self.drop_path(self.ffn(self.ffn_norm(c), geometry.pyramid_shapes))
        return c


class InteractionBlock(nn.Module):
    """Injector, a group of transformer blocks (owned by the backbone), extractor, and any extra extractors."""

    def __init__(self, *, injector: Injector, extractors: Sequence[Extractor], with_cp: bool):
        super().__init__()
        self.with_cp = with_cp
        self.injector = injector
        self.extractor = extractors[0]
        self.extra_extractors = nn.ModuleList(extractors[1:])

    def forward(self, x: Tensor, c: Tensor, blocks: Sequence[ViTBlock], geometry: Geometry) -> tuple[Tensor, Tensor]:
        """``x`` (B, N, C) and ``c`` (B, P, C) -> both, updated."""
        x = run_recomputed(self.with_cp, self.injector, x, c, geometry)
        for block in blocks:
            x = block(x, geometry.patch_shapes[0])
        for extractor in (self.extractor, *self.extra_extractors):
            c = run_recomputed(self.with_cp, extractor, c, x, geometry)
        return x, c


@MODELS.register_module()
class ViTAdapter(WindowedViT):
    """ViT-Adapter backbone with outputs of strides 4, 8, 16 and 32.

    Args:
        conv_inplane: channels of the convolutional stem.
        n_points: sampling points of a head in one level.
        deform_num_heads: heads of the deformable attention.
        deform_ratio: width of its values relative to ``embed_dim``.
        init_values: initial ``gamma`` of the injectors; with 0 the transformer's tokens are at first those of the plain ViT.
        interaction_indexes: (first, last) block, inclusive, of each interaction.
        with_cffn: whether extractors have a feed-forward branch.
        cffn_ratio: its hidden width relative to ``embed_dim``.
        add_vit_feature: whether to add the transformer's output to all four outputs.
        use_extra_extractor: whether the last interaction ends with two more extractors.
        out_indices: which of the strides 4, 8, 16, 32 to return. Leaving out stride 4, which a neck that starts at stride 8
            does not read, saves computation and memory and changes no other output. All parameters exist either way.
        **kwargs: arguments of :class:`WindowedViT`; ``patch_size`` must be 16.

    Raises:
        ConfigError: settings that contradict each other.
    """

    def __init__(
        self,
        *,
        conv_inplane: int = 64,
        n_points: int = 4,
        deform_num_heads: int = 6,
        deform_ratio: float = 1.0,
        init_values: float = 0.0,
        interaction_indexes: Sequence[Sequence[int]] = ((0, 2), (3, 5), (6, 8), (9, 11)),
        with_cffn: bool = True,
        cffn_ratio: float = 0.25,
        add_vit_feature: bool = True,
        use_extra_extractor: bool = True,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        **kwargs: Any,
    ):
        super().__init__(drop_path_rate=drop_path_rate, with_cp=with_cp, **kwargs)
        if self.patch_size != 16:
            message = 'must be 16, the middle stride of the pyramid'
            raise ConfigError(message, field='patch_size', received=self.patch_size)
        depth, pairs = len(self.blocks), interaction_indexes
        if not pairs or any(len(pair) != 2 or not 0 <= pair[0] <= pair[1] < depth for pair in pairs):
            message = f'must be pairs (first, last) of the {depth} blocks'
            raise ConfigError(message, field='interaction_indexes', received=pairs)
        if not out_indices or any(i not in (0, 1, 2, 3) for i in out_indices):
            raise ConfigError('must name some of 0, 1, 2, 3', field='out_indices', received=out_indices)
        self.interaction_indexes = [tuple(pair) for pair in pairs]
        self.out_indices, self.add_vit_feature = tuple(out_indices), add_vit_feature

        dim = self.embed_dim
        attention: dict[str, Any] = dict(
            dim=dim, num_heads=deform_num_heads, num_points=n_points, value_ratio=deform_ratio
        )
        branch: dict[str, Any] = dict(with_cffn=with_cffn, cffn_ratio=cffn_ratio, drop_path=drop_path_rate)
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        self.spm = SpatialPrior(inplanes=conv_inplane, embed_dim=dim, with_stride4=0 in self.out_indices)
        extractors = [1] * (len(pairs) - 1) + [3 if use_extra_extractor else 1]
        self.interactions = nn.ModuleList(
            InteractionBlock(
                injector=Injector(**attention, init_values=init_values),
                extractors=[Extractor(**attention, **branch) for _ in range(number)],
                with_cp=with_cp,
            )
            for number in extractors
        )
        self.up = nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2)
        for index in range(4):
            self.add_module(f'norm{index + 1}', AdapterBatchNorm(dim))

    def _reset_parameters(self) -> None:
        super()._reset_parameters()
        nn.init.normal_(self.level_embed)
        for part in (self.spm, self.interactions, self.up):
            part.apply(_reset_adapter_layer)
        for module in self.interactions.modules():
            if isinstance(module, MSDeformAttn):
                module.reset_parameters()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``image`` (B, 3, H, W).

        Returns:
            One map (B, C, H / stride, W / stride) for each of ``out_indices``.

        Raises:
            ModelInputError: H or W is not a multiple of 32; or, in training, the whole batch is a single 32 x 32 image.
        """
        check_image(image, 32)
        stride4, pyramid = self.spm(image)
        c = torch.cat([tokens + embed for tokens, embed in zip(pyramid, self.level_embed)], dim=1)
        x, (h, w) = self.embed_patches(image)
        geometry = adapter_geometry(h, w, image.device)
        for (first, last), interaction in zip(self.interaction_indexes, self.interactions):
            x, c = interaction(x, c, self.blocks[first : last + 1], geometry)

        maps = dict(enumerate(_to_maps(c, geometry.pyramid_shapes), start=1))
        if stride4 is not None:
            maps[0] = self.up(maps[1]) + stride4
        vit_map = _to_maps(x, geometry.patch_shapes)[0]
        outputs = []
        for index in self.out_indices:
            out = maps[index]
            if self.add_vit_feature:
                added = vit_map  # of stride 16, as the third map
                if index != 2:
                    added = F.interpolate(vit_map, out.shape[-2:], mode='bilinear', align_corners=False)
                out = out + added
            outputs.append(getattr(self, f'norm{index + 1}')(out))
        return tuple(outputs)


def _reset_adapter_layer(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    else:
        reset_vit_layer(module)
