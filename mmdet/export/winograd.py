"""Convolutions with fewer multiplications for exported networks: Winograd's F(4x4, 3x3).

A tile of 4 x 4 outputs takes 36 multiplications for each pair of channels in the place of 144. Source: Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016, equation 8. What is saved must outweigh the transforms of the tiles, which depends on the
number of channels; docs/benchmarks.md has the measurements.

Naming: B images of C channels, K output channels, T tiles of all images, R x S of each.
"""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ConfigError

# Below so many input or output channels the transforms cost what the multiplications save: 64 gain nothing, 128 a fifth, 256 a third.
LEAST_CHANNELS = 128
# Not the backbone: there, a batch norm and an activation cost nothing behind an ordinary convolution, and what is gained is lost again.
_PARTS = ('neck', 'bbox_head', 'rpn_head')
_TILE, _WINDOW = 4, 6


def _both_axes(matrix: list[list[float]]) -> Tensor:
    """The transform of rows and columns of a tile, as one matrix for the tile as a vector."""
    one = torch.tensor(matrix, dtype=torch.float32)
    return torch.kron(one, one)


# Section 4.2 of the paper with the points 0, 1, -1, 1/2 and -2, rows of inputs and weights scaled to like lengths. Sides of boxes then differ by half of
# what the usual 0, 1, -1, 2 and -2 give (docs/benchmarks.md).
_OF_INPUTS = _both_axes([
    [1 / 2, -3 / 4, -1, 3 / 4, 1 / 2, 0],
    [0, -1 / 2, 1 / 4, 5 / 4, 1 / 2, 0],
    [0, 1 / 2, -5 / 4, 1 / 4, 1 / 2, 0],
    [0, -1, -1 / 2, 1, 1 / 2, 0],
    [0, 1 / 4, -1 / 2, -1 / 4, 1 / 2, 0],
    [0, 1 / 2, -3 / 4, -1, 3 / 4, 1 / 2],
])  # fmt: skip
_OF_WEIGHTS = [
    [2, 0, 0],
    [2 / 3, 2 / 3, 2 / 3],
    [-2 / 3, 2 / 3, -2 / 3],
    [-32 / 15, -16 / 15, -8 / 15],
    [2 / 15, -4 / 15, 8 / 15],
    [0, 0, 2],
]
_OF_OUTPUTS = _both_axes([[1, 1, 1, 1, 1, 0], [0, 1, -1, 1 / 2, -2, 0], [0, 1, 1, 1 / 4, 4, 0], [0, 1, -1, 1 / 8, -8, 1]])  # fmt: skip


def transformed_weights(weight: Tensor) -> Tensor:
    """Weights (K, C, 3, 3) as (36, C, K), computed in float64."""
    matrix = torch.tensor(_OF_WEIGHTS, dtype=torch.float64, device=weight.device)
    found = torch.einsum('ai,kcij,bj->abck', matrix, weight.detach().double(), matrix)
    return found.flatten(0, 1).to(weight.dtype).contiguous()


class WinogradConv2d(nn.Conv2d):
    """A 3 x 3 convolution of stride and padding 1, computed by tiles; its ``ready_weight`` is of :func:`transformed_weights`."""

    ready_weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W), any H and W."""
        batch, channels, height, width = x.shape
        rows, columns = (height + _TILE - 1) // _TILE, (width + _TILE - 1) // _TILE  # R, S
        # Blocks of 4 x 4, and one more on either axis: a window is a block and two lines of the next.
        x = functional.pad(x, (1, _TILE * columns + 3 - width, 1, _TILE * rows + 3 - height)).permute(0, 2, 3, 1)
        x = x.reshape(batch, rows + 1, _TILE, columns + 1, _TILE, channels)
        x = torch.cat([x[:, :-1], x[:, 1:, :2]], dim=2)
        x = torch.cat([x[:, :, :, :-1], x[:, :, :, 1:, :2]], dim=4)
        windows = x.permute(2, 4, 0, 1, 3, 5)  # (6, 6, B, R, S, C)
        tiles = _OF_INPUTS.to(x) @ windows.reshape(_WINDOW**2, -1)
        products = tiles.reshape(_WINDOW**2, -1, channels) @ self.ready_weight  # (36, T, K)
        found = _OF_OUTPUTS.to(x) @ products.reshape(_WINDOW**2, -1)
        found = found.reshape(_TILE, _TILE, batch, rows, columns, self.out_channels).permute(2, 5, 3, 0, 4, 1)
        found = found.reshape(batch, self.out_channels, _TILE * rows, _TILE * columns)[:, :, :height, :width]
        return found if self.bias is None else found + self.bias[:, None, None]


def gains(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that takes less time so."""
    return (
        type(layer) is nn.Conv2d
        and (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and (layer.groups, layer.padding_mode) == (1, 'zeros')
        and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS
    )


def winograd_layers(detector: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of neck and heads that gain, each once."""
    parts = [part for name in _PARTS if isinstance(part := getattr(detector, name, None), nn.Module)]
    return list(
        {layer: None for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d) and gains(layer)}
    )


def count_layers(detectors: Mapping[str, nn.Module]) -> str:
    """How many convolutions of each detector, by name, gain.

    Raises:
        ConfigError: none of any.
    """
    counts = {name: len(winograd_layers(detector)) for name, detector in detectors.items()}
    if not any(counts.values()):
        message = f'neck and heads have no 3 x 3 convolution of stride 1 with {LEAST_CHANNELS} channels or more, which would gain'
        raise ConfigError(message, field='winograd', received=counts)
    return ', '.join(f'{count} convolutions of {name}' for name, count in counts.items())


@contextlib.contextmanager
def fewer_multiplications(detector: nn.Module) -> Iterator[None]:
    """Let the convolutions that gain be computed by tiles, for the block; weights and state dict stay as they are.

    Raises:
        ConfigError: there is none.
    """
    count_layers({type(detector).__name__: detector})
    layers = winograd_layers(detector)
    for layer in layers:
        layer.__class__ = WinogradConv2d
        layer.register_buffer('ready_weight', transformed_weights(layer.weight), persistent=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Conv2d
            del layer.ready_weight
