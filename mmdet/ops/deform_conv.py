"""Deformable convolution v1 (Dai et al., ICCV 2017, arXiv 1703.06211) and v2 (Zhu et al., CVPR 2019, arXiv 1811.11168).

:func:`deform_conv2d` calls torchvision's kernel where that works, and elsewhere :func:`deform_conv2d_torch`, the same in pure torch.

N images, C input channels, H x W input, O output channels, h x w output, K kernel points, D deform groups.
"""

import importlib.util
import logging
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import MODELS
from mmdet.utils.tracing import is_exporting

from .torchvision_ops import torchvision_kernel

# Output locations whose columns (K * C floats each) are computed at a time when no gradients are needed: with 128 channels at stride 8 of
# an 800x1333 image that takes 19 MB instead of 77 MB, and a tenth less time (155 against 174 ms for 100 x 136, one thread).
_LOCATIONS = 4096


class _Geometry(NamedTuple):
    """Of a convolution; the pairs are (vertical, horizontal)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """2-D convolution whose kernel points are displaced by `offset`, sampled bilinearly, zeros outside the map.

    Computed in float32 at least: inside autocast the result is float32; otherwise half inputs give a half result.

    Args:
        x: (N, C, H, W).
        offset: (N, D * K * 2, h, w) in input pixels; for kernel point ``p = ky * kernel_w + kx`` channel ``2p`` is dy, ``2p + 1`` is dx.
        weight: (O, C / groups, kernel_h, kernel_w).
        bias: (O,).
        stride, padding, dilation: one number, or (vertical, horizontal).
        groups: as in ``torch.nn.Conv2d``.
        deform_groups: D; each group of C / D channels has its own offsets.
        mask: (N, D * K, h, w) factors of the sampled values (v2).

    Returns:
        (N, O, h, w).

    Raises:
        ModelInputError: shapes that do not fit together.
    """
    geometry = _Geometry(_pair(stride), _pair(padding), _pair(dilation), groups, deform_groups)
    _check_shapes(x, offset, weight, mask, geometry)
    autocast = torch.is_autocast_enabled(x.device.type)
    working = torch.float64 if x.dtype == torch.float64 else torch.float32
    result = working if autocast else x.dtype
    kernel = torchvision_kernel('deform_conv2d', 'cuda' if x.is_cuda else 'cpu')
    if x.is_cuda and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled():
        kernel = None  # its backward pass adds in an arbitrary order, and raises where that is not allowed
    with torch.autocast(x.device.type, enabled=False):
        x, offset, weight = x.to(working), offset.to(working), weight.to(working)
        bias = None if bias is None else bias.to(working)
        mask = None if mask is None else mask.to(working)
        if is_exporting():
            out = deform_conv2d_sampled(x, offset, weight, bias, *geometry, mask)
        elif kernel is not None:
            out = kernel(x, offset, weight, bias, *geometry[:3], mask)
        else:
            out = deform_conv2d_torch(x, offset, weight, bias, *geometry, mask)
    return out.to(result)


def deform_conv2d_torch(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    deform_groups: int,
    mask: Tensor | None,
) -> Tensor:
    """:func:`deform_conv2d` in pure torch, with pairs for stride, padding and dilation, and tensors of one floating dtype.

    Each sample is a weighted sum of four rows of the channels-last map: `embedding_bag` computes it without storing the four rows, and is
    the fastest of three ways on CPU (128 channels, 100 x 136, one thread: 155 ms in pieces; four `index_select`: 472 ms; `grid_sample`:
    210 ms). `grid_sample` also has a defect: rounding in its normalised coordinates moves whole-pixel positions (all of them, at the zero
    initialisation) to the neighbouring cell, which changes the gradient of the offsets.
    """
    num_images, channels, height, width = x.shape
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    points = kernel_h * kernel_w
    geometry = _Geometry(stride, padding, dilation, groups, deform_groups)
    rows, factors = _bilinear_rows(offset, mask, (height, width), (kernel_h, kernel_w), geometry)
    table = x.view(num_images, deform_groups, channels // deform_groups, height, width).permute(0, 1, 3, 4, 2)
    table = table.reshape(-1, channels // deform_groups)  # (N * D * H * W, C / D)
    # Column order (point, channel), the weight to match: (groups, K * C / groups, O / groups).
    kernel = weight.view(groups, -1, group_channels, points).permute(0, 3, 2, 1)
    kernel = kernel.reshape(groups, points * group_channels, -1)

    def convolve(rows: Tensor, factors: Tensor) -> Tensor:
        columns = F.embedding_bag(rows, table, per_sample_weights=factors, mode='sum')  # (locations * K * D, C / D)
        if groups == 1:
            return columns.view(-1, points * channels) @ kernel[0]
        columns = columns.view(-1, points, groups, group_channels).permute(2, 0, 1, 3)
        out = columns.reshape(groups, -1, points * group_channels) @ kernel  # (groups, locations, O / groups)
        return out.permute(1, 0, 2).reshape(-1, out_channels)

    step = _LOCATIONS * points * deform_groups
    if torch.is_grad_enabled() or rows.shape[0] <= step:
        out = convolve(rows, factors)
    else:
        out = torch.cat([convolve(rows[i : i + step], factors[i : i + step]) for i in range(0, rows.shape[0], step)])
    if bias is not None:
        out = out + bias
    out = out.view(num_images, *offset.shape[-2:], out_channels).permute(0, 3, 1, 2)
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return out.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def deform_conv2d_sampled(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    deform_groups: int,
    mask: Tensor | None,
) -> Tensor:
    """:func:`deform_conv2d_torch` by ``grid_sample`` and a 1x1 convolution, operators that every runtime of exported graphs has.

    (ONNX has an operator DeformConv since opset 19: ONNX Runtime runs it, OpenVINO 2026.4 does not read it.)
    """
    out_channels, _, kernel_h, kernel_w = weight.shape
    points, depth = kernel_h * kernel_w, x.shape[1] // deform_groups
    num_images, height, width, out_h, out_w = x.shape[0], x.shape[2], x.shape[3], offset.shape[2], offset.shape[3]
    point = torch.arange(points, device=x.device)
    shift_y = torch.div(point, kernel_w, rounding_mode='trunc') * dilation[0] - padding[0]
    shift_x = point % kernel_w * dilation[1] - padding[1]
    base_y = (torch.arange(out_h, device=x.device) * stride[0])[:, None] + shift_y[:, None, None]  # (K, h, 1)
    base_x = torch.arange(out_w, device=x.device) * stride[1] + shift_x[:, None, None]  # (K, 1, w)
    moved = offset.reshape(num_images * deform_groups, points, 2, out_h, out_w)
    # From -1 to 1 on the map; cell centres are half a cell from the edge.
    y = (2 * (moved[:, :, 0] + base_y.to(offset.dtype)) + 1) / height - 1
    x_of = (2 * (moved[:, :, 1] + base_x.to(offset.dtype)) + 1) / width - 1
    places = torch.stack([x_of, y], dim=-1).flatten(1, 2)  # (N * D, K * h, w, 2)
    maps = x.reshape(num_images * deform_groups, depth, height, width)
    samples = F.grid_sample(maps, places, mode='bilinear', padding_mode='zeros', align_corners=False)
    samples = samples.view(num_images, deform_groups, depth, points, out_h, out_w)
    if mask is not None:
        samples = samples * mask.view(num_images, deform_groups, 1, points, out_h, out_w)
    columns = samples.reshape(num_images, deform_groups * depth * points, out_h, out_w)
    return F.conv2d(columns, weight.reshape(out_channels, -1, 1, 1), bias, groups=groups)


def _bilinear_rows(
    offset: Tensor, mask: Tensor | None, size_hw: tuple[int, int], kernel_hw: tuple[int, int], geometry: _Geometry
) -> tuple[Tensor, Tensor]:
    """Rows of the channels-last map and factors of the four corners of each sample.

    Returns:
        Two tensors (N * h * w * K * D, 4): int64 rows of the (N * D * H * W) table, and bilinear weights, 0 for corners outside the map.
    """
    (height, width), (kernel_h, kernel_w) = size_hw, kernel_hw
    stride, padding, dilation, _, deform_groups = geometry
    num_images, _, out_h, out_w = offset.shape
    device, points = offset.device, kernel_h * kernel_w
    point = torch.arange(points, device=device).view(-1, 1)  # (K, 1)
    shift_y = torch.div(point, kernel_w, rounding_mode='floor') * dilation[0] - padding[0]
    shift_x = point % kernel_w * dilation[1] - padding[1]
    base_y = (torch.arange(out_h, device=device) * stride[0]).view(-1, 1, 1, 1) + shift_y  # (h, 1, K, 1)
    base_x = (torch.arange(out_w, device=device) * stride[1]).view(-1, 1, 1) + shift_x  # (w, K, 1)
    moved = offset.view(num_images, deform_groups, points, 2, out_h, out_w)
    moved = moved.permute(3, 0, 4, 5, 2, 1)  # (2, N, h, w, K, D)
    # A sample at -1 or at the size is exactly zero, so clamping there changes nothing but the range of the integers below.
    y = (moved[0] + base_y.to(offset.dtype)).clamp(-1, height)
    x = (moved[1] + base_x.to(offset.dtype)).clamp(-1, width)  # (N, h, w, K, D)
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    factors = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], dim=-1)
    top, left = top.long(), left.long()
    corner_y = torch.stack([top, top, top + 1, top + 1], dim=-1)
    corner_x = torch.stack([left, left + 1, left, left + 1], dim=-1)
    factors = factors * ((corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width))
    if mask is not None:
        mask = mask.view(num_images, deform_groups, points, out_h, out_w).permute(0, 3, 4, 2, 1)
        factors = factors * mask.unsqueeze(-1)
    maps = torch.arange(num_images * deform_groups, device=device).view(num_images, 1, 1, 1, deform_groups, 1)
    rows = (maps * height + corner_y.clamp(0, height - 1)) * width + corner_x.clamp(0, width - 1)
    return rows.reshape(-1, 4), factors.reshape(-1, 4)


def _check_shapes(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, geometry: _Geometry) -> None:
    stride, padding, dilation, groups, deform_groups = geometry
    shapes = dict(x=tuple(x.shape), weight=tuple(weight.shape))
    if x.dim() != 4 or weight.dim() != 4:
        raise ModelInputError('x must be (N, C, H, W) and weight (O, C / groups, kh, kw)', received=shapes)
    channels, kernel = x.shape[1], weight.shape[-2:]
    whole = channels % groups == weight.shape[0] % groups == channels % deform_groups == 0
    if not whole or weight.shape[1] != channels // groups:
        received = dict(shapes, groups=groups, deform_groups=deform_groups)
        raise ModelInputError('channels, groups and deform_groups do not fit the weight', received=received)
    out_hw = [(x.shape[2 + i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)]
    if min(out_hw) < 1:
        raise ModelInputError(f'the map is smaller than the kernel {tuple(kernel)}', received=tuple(x.shape))
    points = deform_groups * kernel[0] * kernel[1]
    for name, tensor, rows in (('offset', offset, 2 * points), ('mask', mask, points)):
        if tensor is not None and tensor.shape != (allowed := (x.shape[0], rows, *out_hw)):
            raise ModelInputError(f'must be {allowed}', field=name, received=tuple(tensor.shape))


class DeformConv2d(nn.Module):
    """Deformable convolution v1 whose offsets are an argument.

    Parameters: ``weight``, and ``bias`` where the argument is True.

    Args:
        deform_groups: D. ``deformable_groups`` is its old name.
        other arguments: as in ``torch.nn.Conv2d``.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        *,
        deformable_groups: int | None = None,
    ):
        super().__init__()
        deform_groups = deform_groups if deformable_groups is None else deformable_groups
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ConfigError(f'must divide {in_channels} and {out_channels} channels', field='groups', received=groups)
        if deform_groups < 1 or in_channels % deform_groups:
            raise ConfigError(f'must divide {in_channels} channels', field='deform_groups', received=deform_groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        self.groups, self.deform_groups = groups, deform_groups
        # ConvModule reads these two of any convolution.
        self.transposed, self.output_padding = False, (0, 0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter('bias', nn.Parameter(torch.zeros(out_channels)) if bias else None)
        self._init_offsets()
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')
        torchvision_kernel('deform_conv2d')  # looked up now, so that a compiled forward need not import torchvision

    def _init_offsets(self) -> None:
        """Make the layers that predict the offsets."""

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        if self.weight.is_cuda:
            torchvision_kernel('deform_conv2d', 'cuda')
        return self

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, in_channels, H, W) and offsets as in :func:`deform_conv2d` to (N, out_channels, h, w)."""
        geometry = self.stride, self.padding, self.dilation, self.groups, self.deform_groups
        return deform_conv2d(x, offset, self.weight, self.bias, *geometry, mask)

    def extra_repr(self) -> str:
        return (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, '
            f'dilation={self.dilation}, groups={self.groups}, deform_groups={self.deform_groups}'
        )


class DeformConv2dPack(DeformConv2d):
    """Deformable convolution v1 that predicts its own offsets; config type ``DCN``.

    Parameters: those of :class:`DeformConv2d`, and ``conv_offset.{weight,bias}``, an ungrouped convolution of the same
    kernel, stride, padding and dilation, initialised with zeros, with 2 * K * D rows (v1) or 3 * K * D rows (v2).

    A checkpoint decides between v1 and v2: if its ``conv_offset`` has the row count of the other version, the layer becomes that version
    on loading, with a warning. (File names are unreliable here: many published files called "dcnv2" hold v1 layers.) The parameters stay the
    same objects, so an optimiser built before loading still works afterwards; a DistributedDataParallel wrapper built before does not.

    Args:
        fallback_on_stride: the blocks of a backbone read it and then build a plain convolution; it has no effect here.
        other arguments: as in :class:`DeformConv2d`.
    """

    modulated = False

    def __init__(self, *args: Any, fallback_on_stride: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.init_weights()

    def _init_offsets(self) -> None:
        rows = self._offset_rows(self.modulated)
        self.conv_offset = nn.Conv2d(self.in_channels, rows, self.kernel_size, self.stride, self.padding, self.dilation)

    def init_weights(self) -> None:
        """Set the offsets to zero; called after the initialiser of a parent, which treats ``conv_offset`` as any convolution."""
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def _offset_rows(self, modulated: bool) -> int:
        return (3 if modulated else 2) * self.deform_groups * self.kernel_size[0] * self.kernel_size[1]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, in_channels, H, W) to (N, out_channels, h, w)."""
        offset, mask = self.conv_offset(x), None
        if self.modulated:
            first, second, mask = offset.chunk(3, dim=1)
            offset, mask = torch.cat([first, second], dim=1), mask.sigmoid()
        return super().forward(x, offset, mask)

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Become the version, v1 or v2, to which the offset rows of a checkpoint belong; called before shapes are compared.

        The new rows are zero; the parameters stay the same objects.

        Returns:
            a description of the change, if any, for the loading report.
        """
        stored = state_dict.get(f'{prefix}conv_offset.weight')
        rows, own = self._offset_rows(not self.modulated), self._offset_rows(self.modulated)
        if stored is None or stored.shape[0] != rows:
            return []
        names = ('v1 (DCN, offsets only)', 'v2 (DCNv2, with mask)')
        note = (
            f'{prefix}conv_offset: the checkpoint has {rows} rows, so this layer becomes deformable convolution '
            f'{names[not self.modulated]}; the config asked for {names[self.modulated]} with {own} rows'
        )
        self.modulated = not self.modulated
        self.conv_offset.out_channels = rows
        for parameter in self.conv_offset.parameters():
            parameter.data = parameter.data.new_zeros(rows, *parameter.shape[1:])
            parameter.grad = None
        return [note]

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        for note in self.adapt_state_dict(state_dict, prefix):
            print_log(note, 'current', logging.WARNING)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, modulated={self.modulated}'


class ModulatedDeformConv2dPack(DeformConv2dPack):
    """Deformable convolution v2: a sigmoid mask scales each sample (0.5 at first); config type ``DCNv2``.

    Rows of ``conv_offset``: the first two thirds are the offsets, in the order of :func:`deform_conv2d`, the last third is the mask.
    """

    modulated = True


# Also registered in mmengine's root registry, where mmcv looks if no default scope is set; a compiled mmcv registers its own layers there.
for _layer, _name in ((DeformConv2dPack, 'DCN'), (ModulatedDeformConv2dPack, 'DCNv2')):
    MODELS.register_module(name=_name, module=_layer)
    if importlib.util.find_spec('mmcv._ext') is None and _name not in MMENGINE_MODELS.module_dict:
        MMENGINE_MODELS.register_module(name=_name, module=_layer)
