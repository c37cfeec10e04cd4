"""Multi-scale deformable attention in pure torch (Deformable DETR, https://arxiv.org/abs/2010.04159, equation 3).

Every query gathers a few bilinearly interpolated values from every feature level and adds them with its own weights.
Interpolation is itself a weighted sum of four grid cells, so one query and head is a weighted sum of ``4 * L * K`` rows
of the value table: exactly what ``torch.nn.functional.embedding_bag`` computes in one kernel, over all levels at once,
reading whole rows. On one CPU core this takes a fifth of the time of the usual ``grid_sample`` form
(docs/vit_adapter.md), and torch does not list its backward pass among the non-deterministic ones on a GPU, as it does
that of ``grid_sample``.

Letters: B images, Q queries, M heads, D channels of a head, L levels, K points of a level, S value tokens (the cells of
all levels).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.errors import ConfigError, ModelInputError
from mmdet.utils.tracing import is_exporting

SpatialShapes = Sequence[tuple[int, int]]
"""(height, width) of each level, in the order of the value tokens."""


@lru_cache(maxsize=256)
def _cached_level_sizes(shapes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Not as inference tensors, even when first needed under inference_mode: the cache outlives that block, and training
    # saves the sizes for its backward pass.
    with torch.inference_mode(False):
        sizes_wh = torch.tensor([(w, h) for h, w in shapes], dtype=torch.int32, device=device)
        starts = list(accumulate((h * w for h, w in shapes[:-1]), initial=0))
        return sizes_wh, torch.tensor(starts, dtype=torch.int32, device=device)


def _level_sizes(shapes: SpatialShapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """(width, height) (L, 2) and first value token (L,) of each level, int32; cached, since copying to a GPU synchronises."""
    if is_exporting():  # so that the sizes stay those of the input
        sizes_wh = torch.stack([torch.as_tensor(side, device=device) for h, w in shapes for side in (w, h)]).view(-1, 2)
        return sizes_wh, sizes_wh.prod(1).cumsum(0) - sizes_wh.prod(1)
    key = tuple((int(h), int(w)) for h, w in shapes)
    # Tensors of a graph being traced must not outlive the trace; the sizes become constants of that graph anyway.
    function = _cached_level_sizes.__wrapped__ if torch.compiler.is_compiling() else _cached_level_sizes
    return function(key, device)


def _check_inputs(value: Tensor, shapes: SpatialShapes, levels: int) -> None:
    cells = sum(h * w for h, w in shapes)
    if len(shapes) != levels:
        message = f'must hold one (height, width) for each of {levels} levels'
        raise ModelInputError(message, field='spatial_shapes', received=list(shapes))
    if value.shape[1] != cells:
        message = f'must hold one token for each of the {cells} cells of spatial_shapes {list(shapes)}'
        raise ModelInputError(message, field='value', received=tuple(value.shape))


def _weighted_samples(value: Tensor, shapes: SpatialShapes, pixels: Tensor, weights: Tensor) -> Tensor:
    """Sum of bilinear samples at ``pixels`` (B, Q, M, L, K, 2): x, y in cells, 0 at the centre of the first cell."""
    if is_exporting():
        return _weighted_samples_of_maps(value, shapes, pixels, weights)
    B, S, M, D = value.shape
    Q, L, K = pixels.shape[1], pixels.shape[3], pixels.shape[4]
    sizes_wh, starts = _level_sizes(shapes, value.device)
    index_dtype = torch.int32 if B * S * M < 2**31 else torch.int64
    sizes_wh, starts = sizes_wh.to(index_dtype), starts.to(index_dtype)

    low = pixels.floor()
    fraction = pixels - low
    low = low.to(index_dtype)
    corners = torch.stack((low, low + 1), dim=-2)  # (B, Q, M, L, K, 2 sides, 2 axes)
    last_cell = (sizes_wh - 1).view(L, 1, 1, 2)
    inside = torch.minimum(corners.clamp(min=0), last_cell)
    # A corner that clamping moved lies outside the level: it reads some cell, with weight zero (zero padding).
    side_weights = torch.stack((1 - fraction, fraction), dim=-2) * (inside == corners)
    weight_x, weight_y = side_weights.unbind(-1)  # (B, Q, M, L, K, 2)
    x, y = inside.unbind(-1)

    # Row (image, token, head) of the value table; the corners get two axes, the side of y and the side of x.
    image, head = (torch.arange(count, device=value.device, dtype=index_dtype) for count in (B, M))
    first_row = image.view(B, 1, 1, 1, 1, 1) * (S * M) + head.view(M, 1, 1, 1) + (starts * M).view(L, 1, 1)
    row_y = y * (sizes_wh[:, 0] * M).view(L, 1, 1) + first_row
    rows = row_y.unsqueeze(-1) + (x * M).unsqueeze(-2)  # (B, Q, M, L, K, 2, 2)
    row_weights = (weights.unsqueeze(-1) * weight_y).unsqueeze(-1) * weight_x.unsqueeze(-2)

    output = F.embedding_bag(
        rows.view(B * Q * M, L * K * 4),
        value.reshape(B * S * M, D),
        mode='sum',
        per_sample_weights=row_weights.view(B * Q * M, L * K * 4),
    )
    return output.view(B, Q, M * D)


def _weighted_samples_of_maps(value: Tensor, shapes: SpatialShapes, pixels: Tensor, weights: Tensor) -> Tensor:
    """:func:`_weighted_samples` level by level by ``grid_sample``, an operator that every runtime has."""
    B, M, D = value.shape[0], value.shape[2], value.shape[3]
    Q, K = pixels.shape[1], pixels.shape[4]
    start, total = 0, None
    for level, (h, w) in enumerate(shapes):
        maps = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(B * M, D, h, w)
        start = start + h * w
        size_wh = torch.stack([torch.as_tensor(side, dtype=pixels.dtype, device=pixels.device) for side in (w, h)])
        places = (2 * pixels[:, :, :, level] + 1) / size_wh - 1  # (B, Q, M, K, 2) from -1 to 1
        places = places.transpose(1, 2).reshape(B * M, Q, K, 2)
        samples = F.grid_sample(maps, places, mode='bilinear', padding_mode='zeros', align_corners=False)
        part = (samples * weights[:, :, :, level].transpose(1, 2).reshape(B * M, 1, Q, K)).sum(-1)  # (B * M, D, Q)
        total = part if total is None else total + part
    assert total is not None
    return total.view(B, M * D, Q).transpose(1, 2)


def ms_deform_attn(
    value: Tensor, spatial_shapes: SpatialShapes, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """Weighted sum of bilinear samples from several feature levels.

    Cell (i, j) of a level with width W and height H has its centre at ((j + 0.5) / W, (i + 0.5) / H); outside a level
    the value is zero. Computed in float32 (float64 for float64 values), also inside autocast, because half precision
    would misplace the samples.

    Args:
        value: (B, S, M, D), the tokens of all levels one after the other, each level row by row.
        spatial_shapes: (height, width) of each of the L levels.
        sampling_locations: (B, Q, M, L, K, 2), x then y, in [0, 1] inside the level.
        attention_weights: (B, Q, M, L, K).

    Returns:
        (B, Q, M * D), in the dtype of ``value``.

    Raises:
        ModelInputError: the value tokens or the locations do not fit ``spatial_shapes``.
    """
    _check_inputs(value, spatial_shapes, sampling_locations.shape[3])
    dtype = torch.promote_types(value.dtype, torch.float32)
    with torch.autocast(value.device.type, enabled=False):
        sizes_wh, _ = _level_sizes(spatial_shapes, value.device)
        pixels = sampling_locations.to(dtype) * sizes_wh.unsqueeze(1) - 0.5
        output = _weighted_samples(value.to(dtype), spatial_shapes, pixels, attention_weights.to(dtype))
    return output.to(value.dtype)


class MSDeformAttn(nn.Module):
    """Multi-scale deformable attention with its projections.

    Args:
        embed_dims: channels of query, value and output.
        num_heads: M.
        num_levels: L.
        num_points: K, samples of one head in one level.
        value_ratio: width of the projected values relative to ``embed_dims``.

    Raises:
        ConfigError: the widths do not divide by ``num_heads``.
    """

    def __init__(
        self, *, embed_dims: int, num_heads: int, num_levels: int = 1, num_points: int = 4, value_ratio: float = 1.0
    ):
        super().__init__()
        value_dims = int(embed_dims * value_ratio)
        if embed_dims % num_heads or value_dims % num_heads:
            raise ConfigError(
                f'embed_dims and embed_dims * value_ratio ({value_dims}) must be multiples of num_heads = {num_heads}',
                field='MSDeformAttn.embed_dims', received=embed_dims,
            )  # fmt: skip
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(embed_dims, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(embed_dims, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(embed_dims, value_dims)
        self.output_proj = nn.Linear(value_dims, embed_dims)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Head m looks in direction 2 pi m / M, point k at k + 1 cells, with equal weights (Deformable DETR, A.4)."""
        angles = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)  # (M, 2), on the unit square
        steps = torch.arange(1, self.num_points + 1, dtype=torch.float32)
        offsets = directions.view(-1, 1, 1, 2) * steps.view(1, 1, -1, 1)  # (M, 1, K, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        for zeroed in (self.sampling_offsets.weight, self.attention_weights.weight, self.attention_weights.bias):
            nn.init.zeros_(zeroed)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, reference_points: Tensor, value: Tensor, spatial_shapes: SpatialShapes) -> Tensor:
        """Weighted sum of the values sampled around the reference points, projected to the output.

        Args:
            query: (B, Q, C).
            reference_points: (B or 1, Q, L or 1, 2), x then y, in [0, 1] inside the level.
            value: (B, S, C), the tokens of all levels one after the other.
            spatial_shapes: (height, width) of each of the L levels.

        Returns:
            (B, Q, C).

        Raises:
            ModelInputError: the value tokens or the reference points do not fit the other arguments.
        """
        return self.sample(query, reference_points, value, spatial_shapes)

    def sample(
        self,
        query: Tensor,
        reference_points: Tensor,
        value: Tensor,
        spatial_shapes: SpatialShapes,
        padding: Tensor | None = None,
    ) -> Tensor:
        """:meth:`forward`, also with boxes as references and with padding.

        Args:
            query, value, spatial_shapes: see :meth:`forward`.
            reference_points: (B or 1, Q, L or 1, 2), or boxes (..., 4), x, y, w, h; a box reaches from -1 to 1 where K offsets reach from -K to K.
            padding: (B, S), true where a token is padding and counts as 0.
        """
        B, Q, _ = query.shape
        M, L, K = self.num_heads, self.num_levels, self.num_points
        if reference_points.shape[1] != Q or reference_points.shape[-1] not in (2, 4):
            message = f'must be (B or 1, {Q}, L or 1, 2 or 4), one x, y or x, y, w, h for each query'
            raise ModelInputError(message, field='reference_points', received=tuple(reference_points.shape))
        _check_inputs(value, spatial_shapes, L)
        value = self.value_proj(value)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0)
        value = value.view(B, -1, M, value.shape[-1] // M)
        dtype = torch.promote_types(value.dtype, torch.float32)
        # Locations need more digits than half precision has: their projections are small, so they run in the
        # parameters' own precision.
        with torch.autocast(query.device.type, enabled=False):
            query = query.to(self.sampling_offsets.weight.dtype)
            offsets = self.sampling_offsets(query).to(dtype).view(B, Q, M, L, K, 2)  # in cells of the level
            weights = self.attention_weights(query).to(dtype).view(B, Q, M, L * K).softmax(-1).view(B, Q, M, L, K)
            sizes_wh, _ = _level_sizes(spatial_shapes, query.device)
            reference_pixels = reference_points[..., :2].to(dtype) * sizes_wh - 0.5  # (B or 1, Q, L, 2)
            if reference_points.shape[-1] == 4:
                half_wh = reference_points[..., 2:].to(dtype) * sizes_wh / 2
                offsets = offsets / K * half_wh[:, :, None, :, None]
            pixels = offsets + reference_pixels[:, :, None, :, None]
            output = _weighted_samples(value.to(dtype), spatial_shapes, pixels, weights)
        return self.output_proj(output.to(value.dtype))
