"""Block dicts of ZenNAS, converted to the nearest block families of this package.

ZenNAS counts depth in sub-layers of two residual units each. Its inverted residuals (IDWE) have ``expansion * out`` hidden channels; their ``btn``
is not used. The networks obtained this way have the published parameters within 3 % and the published FLOPs within 2 %, with two exceptions:
latency01ms (2.40 GFLOPs, published 1.7) and flops900M (0.82 GFLOPs at 224 pixels, published 0.93; 12.2 M parameters without its
squeeze-excitation, published 19.4 M).
"""

import re
from collections.abc import Mapping, Sequence
from os import PathLike

from mmdet.utils.checks import is_int

from ..errors import DataError
from .parsing import parse_structure
from .structure import Structure

_CONV = re.compile(r'SuperConvK(\d+)BNRELU')
_BOTTLENECK = re.compile(r'SuperResK1K(\d+)K1')
_BASIC = re.compile(r'SuperResK(\d+)K(\d+)')
_INVERTED = re.compile(r'SuperResIDWE(\d+)K(\d+)')
_KEYS = ('cls', 'in', 'out', 's', 'sub_layers', 'btn')


def is_zen_block(block: object) -> bool:
    """Whether a value is a block dict with ZenNAS's keys."""
    return isinstance(block, Mapping) and 'cls' in block


def parse_zen_structure(
    blocks: Sequence[Mapping], *, file: str | PathLike | None = None, record: str | None = None
) -> Structure:
    """Convert ZenNAS block dicts (``cls``, ``in``, ``out``, ``s``, ``btn``, ``sub_layers``) to a structure.

    Args:
        blocks: the dicts, first block first.
        file: where they come from, for error messages.
        record: which structure of the file they are, for error messages.

    Raises:
        DataError: naming file, block index and key.
    """
    converted = []
    for index, block in enumerate(blocks):
        where = dict(file=file, record=f'{record}, block {index}' if record else f'block {index}')
        converted.extend(_convert(block, where))
    return parse_structure(converted, file=file, record=record)


def _convert(block: Mapping, where: dict) -> list[dict]:
    """One ZenNAS block with the keys of LightNAS; a list, because a convolution may be repeated."""
    if not is_zen_block(block):
        raise DataError('a ZenNAS block needs the key cls; the two layouts cannot be mixed', received=block, **where)
    for key in block:
        if key not in _KEYS:
            raise DataError(f'unknown key; allowed are {list(_KEYS)}', field=key, received=block[key], **where)
    name, sub_layers = block['cls'], block.get('sub_layers', 1)
    if not is_int(sub_layers, 1):
        raise DataError('must be an integer >= 1', field='sub_layers', received=sub_layers, **where)
    common = {key: block[key] for key in ('in', 'out', 's') if key in block}
    if match := _CONV.fullmatch(str(name)):
        first = {'class': 'ConvKXBNRELU', 'k': int(match[1]), **common}
        rest = {**first, 'in': block.get('out'), 's': 1}
        return [first] + [rest] * (sub_layers - 1)
    common['btn'], common['L'] = block.get('btn'), 2 * sub_layers
    if match := _BOTTLENECK.fullmatch(str(name)):
        return [{'class': 'SuperResK1KXK1', 'k': int(match[1]), **common}]
    if (match := _BASIC.fullmatch(str(name))) and match[1] == match[2]:
        return [{'class': 'SuperResKXKX', 'k': int(match[1]), **common}]
    if match := _INVERTED.fullmatch(str(name)):
        out = block.get('out')
        common['btn'] = int(match[1]) * out if isinstance(out, int) else out
        return [{'class': 'SuperResK1DWK1', 'k': int(match[2]), **common}]
    allowed = 'SuperConvK*BNRELU, SuperResK1K*K1, SuperResK*K*, SuperResIDWE*K*'
    raise DataError(f'must be one of {allowed}', field='cls', received=name, **where)
