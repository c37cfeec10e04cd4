"""Names and shapes that published checkpoints have."""

import gzip
from pathlib import Path

FOLDER = Path(__file__).parent / 'assets' / 'gfl_keys'


def reference_keys(name: str, prefix: str = '') -> dict[str, tuple[int, ...]]:
    """Shapes by state-dict key, in state-dict order.

    Args:
        name: file name without suffix, such as ``gfl_r50`` or ``vit_adapter_s``.
        prefix: keep only the keys that start so, and cut it off (``'backbone.'``).
    """
    shapes = {}
    for line in gzip.decompress((FOLDER / f'{name}.txt.gz').read_bytes()).decode().splitlines():
        key, shape = line.split(' ', 1)
        if key.startswith(prefix):
            shapes[key[len(prefix) :]] = tuple(int(size) for size in shape.strip('()').split(',') if size.strip())
    return shapes
