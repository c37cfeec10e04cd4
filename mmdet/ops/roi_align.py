"""RoIAlign (He et al., Mask R-CNN, ICCV 2017, arXiv 1703.06870): features of boxes of any size on a grid of one size.

:func:`roi_align` calls torchvision's kernel where that works, and elsewhere :func:`roi_align_torch`, the same in pure torch.

N images, C channels, H x W map, K boxes, h x w output cells.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdet.errors import ConfigError, ModelInputError

from .torchvision_ops import torchvision_kernel

# Map cells whose features (C floats each) are gathered at a time, 32 MiB with 256 channels.
_CELLS = 2**15


def roi_align(
    x: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean of bilinear samples in each of h x w equal cells of a box.

    Computed in float32 at least, and returned in the type of ``x``. Samples more than one pixel outside the map are 0. There is no gradient
    of the boxes.

    Args:
        x: (N, C, H, W).
        rois: (K, 5) number of the image, then xyxy in pixels of the image.
        output_size: (h, w), or one number for both.
        spatial_scale: map cells per pixel of the image.
        sampling_ratio: samples of a cell along an axis; 0: as many as the cell has map cells, rounded up.
        aligned: map cells have their centres at half numbers; False: at whole ones, as in the first implementations, which also made
            boxes at least one map cell wide.

    Returns:
        (K, C, h, w).

    Raises:
        ModelInputError: other shapes.
    """
    if x.dim() != 4 or rois.dim() != 2 or rois.size(1) != 5:
        raise ModelInputError('needs maps (N, C, H, W) and boxes (K, 5)', received=(tuple(x.shape), tuple(rois.shape)))
    working = torch.promote_types(x.dtype, torch.float32)
    kernel = torchvision_kernel('roi_align', 'cuda' if x.is_cuda else 'cpu')
    if x.is_cuda and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled():
        kernel = None  # its backward pass adds in an arbitrary order, and raises where that is not allowed
    with torch.autocast(x.device.type, enabled=False):
        align = roi_align_torch if kernel is None else kernel
        rois = rois.detach().to(working)
        options = (_pair(output_size), float(spatial_scale), sampling_ratio, aligned)
        if torch.jit.is_tracing():
            # The number of columns as a constant, which OpenVINO asks for.
            found = _RoIAlignOfONNX.apply(x.to(working), rois[:, 1:].reshape(-1, 4), rois[:, 0].long(), *options)
        else:
            found = align(x.to(working), rois, *options)
    return found.to(x.dtype)


class _RoIAlignOfONNX(torch.autograd.Function):
    """:func:`roi_align` that the TorchScript-based exporter writes as the operator RoiAlign (opset 16), whatever computes it here."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        boxes: Tensor,
        images: Tensor,
        size: tuple[int, int],
        scale: float,
        ratio: int,
        aligned: bool,
    ) -> Tensor:
        rois = torch.cat([images.to(boxes.dtype)[:, None], boxes], dim=1)
        return (torchvision_kernel('roi_align') or roi_align_torch)(x, rois, size, scale, ratio, aligned)

    @staticmethod
    def symbolic(
        g: Any, x: Any, boxes: Any, images: Any, size: tuple[int, int], scale: float, ratio: int, aligned: bool
    ) -> Any:
        out = g.op(
            'RoiAlign', x, boxes, images, mode_s='avg', output_height_i=size[0], output_width_i=size[1], sampling_ratio_i=ratio,
            spatial_scale_f=scale, coordinate_transformation_mode_s='half_pixel' if aligned else 'output_half_pixel',
        )  # fmt: skip
        channels = (x.type().sizes() or [None] * 4)[1]
        out.setType(x.type().with_sizes([None, channels, *size]))
        return out


def roi_align_torch(
    x: Tensor, rois: Tensor, output_size: tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """:func:`roi_align` in pure torch.

    The weight of a map cell in an output cell is a product of one along each axis, so that a box is two matrix products with the window
    of the map that it covers. Boxes of similar windows are computed together.
    """
    channels, height, width = x.shape[1:]
    table = x.permute(0, 2, 3, 1).reshape(-1, channels)  # (N H W, C)
    boxes = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    order, found = [rois.new_zeros(0, dtype=torch.long)], [x.new_zeros(0, *output_size, channels)]
    edges = boxes.view(-1, 2, 2)
    first, last = _window(edges.amin(1), (width, height)), _window(edges.amax(1), (width, height), upper=True)
    for rows in _chunks((last - first + 1).clamp(min=1)):
        windows = []
        for axis, (cells, length) in enumerate(zip(output_size[::-1], (width, height))):
            low, high = boxes[rows, axis], boxes[rows, axis + 2]
            size = int((last[rows, axis] - first[rows, axis]).amax().clamp(min=0)) + 1
            start = first[rows, axis].clamp(max=length - size)
            weights = _cell_weights(low, high, cells, sampling_ratio, aligned, start, size, length)
            windows.append((weights, start[:, None] + torch.arange(size, device=x.device)))
        (across, columns), (down, lines) = windows  # (k, w, W_k), (k, W_k), (k, h, H_k), (k, H_k)
        lines = lines + (rois[rows, :1].long() * height)
        covered = (lines[:, :, None] * width + columns[:, None]).flatten()
        features = table.index_select(0, covered).view(len(rows), lines.size(1), -1)  # (k, H_k, W_k C)
        features = (down @ features).view(len(rows), output_size[0], -1, channels)
        found.append(across[:, None] @ features)  # (k, h, w, C)
        order.append(rows)
    return torch.cat(found)[torch.cat(order).argsort()].permute(0, 3, 1, 2)


def _window(edges: Tensor, size_wh: tuple[int, int], upper: bool = False) -> Tensor:
    """The first or last map cells (K, 2) that samples beyond edges (K, 2) touch."""
    limit = edges.new_tensor(size_wh) - 1
    # One cell more on each side: boxes that are turned round or widened reach over their edges.
    cells = (edges + (2 if upper else -1)).nan_to_num().floor()
    return torch.minimum(cells.clamp(min=0), limit).long()


def _chunks(sizes: Tensor) -> Iterator[Tensor]:
    """Rows of windows of similar sizes (K, 2), such that those of a part have together at most ``_CELLS`` cells, the smaller ones padded."""
    order = torch.argsort(sizes[:, 0] * 65536 + sizes[:, 1])
    begin, width, height = 0, 1, 1
    for end, (w, h) in enumerate(sizes[order].tolist()):
        wider, higher = max(width, w), max(height, h)
        if end > begin and wider * higher * (end + 1 - begin) > _CELLS:
            yield order[begin:end]
            begin, wider, higher = end, w, h
        width, height = wider, higher
    if begin < len(order):
        yield order[begin:]


def _cell_weights(
    low: Tensor, high: Tensor, cells: int, ratio: int, aligned: bool, start: Tensor, size: int, length: int
) -> Tensor:
    """(k, cells, size) weights of the map cells from ``start`` (k,) on along one axis, for boxes from ``low`` to ``high`` (k,)."""
    extent = high - low
    extent = extent if aligned else extent.clamp(min=1)
    step = (extent / cells)[:, None, None]
    counts = torch.full_like(extent, ratio) if ratio > 0 else (extent / cells).ceil().clamp(min=0)
    most = int(counts.amax().clamp(min=1))
    number = torch.arange(most, device=low.device)
    counts = counts[:, None, None]
    offsets = torch.arange(cells, device=low.device)[:, None] + (number + 0.5) / counts.clamp(min=1)
    place = low[:, None, None] + offsets * step  # (k, cells, samples)
    share = ((number < counts) & (place >= -1) & (place <= length)) / counts.clamp(min=1)
    place = place.clamp(0, length - 1)
    below = place.floor()
    after = place - below
    weights = low.new_zeros(len(low), cells, size)
    for cell, weight in ((below, 1 - after), (below + 1, after)):
        column = (cell.long() - start[:, None, None]).clamp(0, size - 1)
        weights.scatter_add_(2, column, weight * share)
    return weights


class RoIAlign(nn.Module):
    """:func:`roi_align` as a layer, with the arguments of mmcv's.

    Args:
        output_size, spatial_scale, sampling_ratio, aligned: see :func:`roi_align`.
        pool_mode: must be ``'avg'``.
        use_torchvision: accepted; the kernel is chosen by what works.

    Raises:
        ConfigError: another ``pool_mode``.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ):
        super().__init__()
        if pool_mode != 'avg':
            raise ConfigError("must be 'avg'", field='RoIAlign.pool_mode', received=pool_mode)
        self.output_size, self.spatial_scale = _pair(output_size), float(spatial_scale)
        self.sampling_ratio, self.aligned = int(sampling_ratio), aligned

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Maps (N, C, H, W) and boxes (K, 5) to (K, C, h, w)."""
        return roi_align(x, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

    def extra_repr(self) -> str:
        """The arguments."""
        return f'{self.output_size}, spatial_scale={self.spatial_scale}, sampling_ratio={self.sampling_ratio}, aligned={self.aligned}'
