"""Names and shapes that published checkpoints have."""

import gzip
from pathlib import Path

ASSETS = Path(__file__).parent / 'assets'


def reference_keys(name: str, prefix: str = '') -> dict[str, tuple[int, ...]]:
    """Shapes by state-dict key, in state-dict order.

    Args:
        name: file name without suffix, such as ``gfl_r50`` or ``vit_adapter_s``, in either folder of keys.
        prefix: keep only the keys that start so, and cut it off (``'backbone.'``).
    """
    shapes = {}
    (path,) = ASSETS.glob(f'*_keys/{name}.txt.gz')
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        key, shape = line.split(' ', 1)
        if key.startswith(prefix):
            shapes[key[len(prefix) :]] = tuple(int(size) for size in shape.strip('()').split(',') if size.strip())
    return shapes
