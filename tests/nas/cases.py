"""Structures and figures that the tests of this folder share."""

import json
from pathlib import Path

from mmdet.nas import StructureEntry, load_structures, parse_structure

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = json.loads((ROOT / 'tests' / 'assets' / 'tinynas_numbers.json').read_text())
# Initial structures of the search configs, by config.
STARTS = json.loads((ROOT / 'tests' / 'data' / 'tinynas_starts.json').read_text())
PUBLISHED: dict[str, StructureEntry] = {
    entry.name: entry
    for path in sorted((ROOT / 'configs' / 'tinynas').glob('*/models/*.json'))
    for entry in load_structures(path)
}


def stem(out: int = 8, **kwargs) -> dict:
    """A 3 x 3 stem of stride 2 on RGB."""
    return {'class': 'ConvKXBNRELU', 'in': 3, 'out': out, 'k': 3, 's': 2, **kwargs}


def super_block(
    name: str, in_channels: int, out: int, btn: int, layers: int = 1, k: int = 3, s: int = 2, **kwargs
) -> dict:
    """A super block."""
    return {'class': name, 'in': in_channels, 'out': out, 'k': k, 's': s, 'L': layers, 'btn': btn, **kwargs}


# What classification/R50_FLOPs of the reference starts from.
R50_INITIAL = parse_structure(
    [stem(32)]
    + [
        super_block('SuperResK1KXK1', i, out, btn, s=s)
        for i, out, btn, s in (
            (32, 256, 64, 2), (256, 512, 128, 2), (512, 768, 256, 2), (768, 1024, 256, 1), (1024, 2048, 512, 2),
        )
    ]
)  # fmt: skip


def five_stages(name: str, layers: int = 2, btn: int = 16, **kwargs) -> list[dict]:
    """A five-stage network of one family, channels 8, 16, 24, 32, 40."""
    channels = (8, 16, 24, 32, 40)
    first = {**stem(8), 'class': 'Conv3DKXBNRELU', 'kt': 1} if 'kt' in kwargs else stem(8)
    return [first] + [super_block(name, i, o, btn, layers, **kwargs) for i, o in zip(channels, channels[1:])]


FAMILIES = {
    'SuperResK1KXK1': {},
    'SuperResK1KX': {},
    'SuperResKXKX': {},
    'SuperResK1DWK1': {},
    'SuperResK1DWSEK1': {},
    'SuperQuantResK1DWK1': dict(nbitsA=[5] * 6, nbitsW=[4] * 6),
    'SuperRes3DK1DWK1': dict(kt=3),
}
