"""A searched network that needs torch only. Exported as ``network.py``; inside the toolbox only the exporter uses it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mmdet.archs.blocks.base import is_3d
from mmdet.archs.blocks.costs import elements, flops_per_pixel
from mmdet.archs.parsing import parse_structure
from mmdet.archs.structure import is_quantised, stage_ends
from mmdet.errors import CheckpointError
from mmdet.formats.torch_file import check_file, check_tuples
from mmdet.models.layers.lsq import LSQLinear
from mmdet.models.layers.tinynas_blocks import BlockOptions, build_block
from mmdet.models.layers.tinynas_damo import SpaceToDepth

STRUCTURE_FILE = 'structure.json'
WEIGHTS_FILE = 'weights.pth'


class TinyNAS(nn.Module):
    """Network of a structure, which returns feature maps of stages or scores of classes.

    A stage ends just before a block of stride 2 and at the last block; stages 1 to 4 have strides 4, 8, 16, 32 in the usual networks.

    Args:
        blocks: the structure, a list of block dicts.
        out_indices: stages whose maps are returned, ascending; None for a classifier.
        num_classes: number of classes of a classifier.
        hidden_channels: width of a classifier's hidden layer; None for no such layer.
        act: activation of blocks that do not name one; None for that of their family.
    """

    def __init__(
        self,
        blocks: Sequence[Mapping],
        *,
        out_indices: Sequence[int] | None = None,
        num_classes: int = 1000,
        hidden_channels: int | None = None,
        act: str | None = None,
    ):
        super().__init__()
        structure = parse_structure(blocks)
        self.dims = 3 if is_3d(structure) else 2
        stem = structure[0]
        # Structures searched for DAMO-YOLO read the four pixels of each 2 x 2 square as channels.
        focus = stem.type == 'ConvKXBNRELU' and stem.in_channels == 12
        self.focus = SpaceToDepth() if focus else None
        self.structure, self.in_channels = structure, 3 if focus else stem.in_channels
        options = BlockOptions(norm_cfg=dict(type='BN'), act=act)
        self.block_list = nn.ModuleList(build_block(block, [options] * block.layers) for block in structure)
        ends = stage_ends(structure)
        self.returned = None if out_indices is None else [ends[stage] for stage in out_indices]
        if self.returned is None:
            linear = LSQLinear if is_quantised(structure) else nn.Linear
            channels = structure[-1].out_channels
            self.head = None
            if hidden_channels is not None:
                self.head = nn.Sequential(linear(channels, hidden_channels), nn.SiLU(inplace=True), nn.Dropout(0.2))
                channels = hidden_channels
            self.fc_linear = linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, [T,] H, W) to a tuple of maps (B, C_j, [T,] H / stride_j, W / stride_j) for `out_indices`, or to scores (B, classes)."""
        if self.focus is not None:
            x = self.focus(x)
        maps = []
        for index, block in enumerate(self.block_list):
            x = block(x)
            if self.returned is not None and index in self.returned:
                maps.append(x)
                if index == self.returned[-1]:
                    return tuple(maps)
        x = x.flatten(2).mean(2)
        return self.fc_linear(x if self.head is None else self.head(x))

    def flops(self, height: int, width: int, frames: int = 1) -> float:
        """FLOPs of the blocks for one image, as a search counts them: multiply-adds, and per output value 2 for norms and 1 for activations."""
        area = height * width * frames / (4 if self.focus is not None else 1)
        total = 0.0
        for block in self.structure[: None if self.returned is None else self.returned[-1] + 1]:
            total += flops_per_pixel(block) * area
            area /= block.stride**2
        return total

    def num_parameters(self) -> int:
        """Elements of the blocks' weights and norms, without a classifier's linear layers and the steps of quantisers."""
        return sum(map(elements, self.structure[: len(self.block_list)]))


def load(folder: str | Path, weights: str | Path | None = None) -> TinyNAS:
    """Load an exported network, in eval mode.

    Args:
        folder: folder of ``structure.json``, and of ``weights.pth`` if there is one.
        weights: another state dict file; its names must be those of the network. Without any, the weights are random.

    Raises:
        CheckpointError: the file of weights cannot be read, or is damaged.
    """
    folder = Path(folder)
    entry = json.loads((folder / STRUCTURE_FILE).read_text(encoding='utf-8'))['structures'][0]
    model = TinyNAS(entry['blocks'], **entry['network'])
    if weights is None and (folder / WEIGHTS_FILE).is_file():
        weights = folder / WEIGHTS_FILE
    if weights is not None:
        model.load_state_dict(_read_weights(Path(weights)), strict=True)
    return model.eval()


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        with open(path, 'rb') as stream:
            if stream.read(2) == b'PK':  # the older format has no check sums
                stream.seek(0)
                check_file(path, stream)
            else:
                stream.seek(0)
                check_tuples(path, stream)
            stream.seek(0)
            return torch.load(stream, map_location='cpu', weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes make a deserialiser raise nearly anything
        raise CheckpointError(f'cannot be read ({type(error).__name__}: {error})', file=path) from error


def example_input(folder: str | Path, size: Sequence[int] | None = None) -> Tensor:
    """A random image or clip, (1, C, [T,] H, W), whose values depend on its size only.

    Args:
        folder: folder of ``structure.json``.
        size: (height, width); None for the size that the network was exported with.
    """
    entry = json.loads((Path(folder) / STRUCTURE_FILE).read_text(encoding='utf-8'))['structures'][0]
    height, width = size or entry['input_size']
    stem = entry['blocks'][0]
    channels = 3 if stem['class'] == 'ConvKXBNRELU' and stem['in'] == 12 else stem['in']
    clip = (entry['frames'],) if 'kt' in stem else ()
    return torch.randn(1, channels, *clip, height, width, generator=torch.Generator().manual_seed(0))
