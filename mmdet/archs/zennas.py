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
from .parsing import LARGEST, block_place, parse_structure
from .structure import Structure

_CONV = re.compile(r'SuperConvK(\d{1,4})BNRELU')
_BOTTLENECK = re.compile(r'SuperResK1K(?P<k>\d{1,4})K1')
_BASIC = re.compile(r'SuperResK(?P<k>\d{1,4})K(\d{1,4})')
_INVERTED = re.compile(r'SuperResIDWE(?P<expansion>\d{1,4})K(?P<k>\d{1,4})')
_KEYS = ('cls', 'in', 'out', 's', 'sub_layers', 'btn')


def is_zen_block(block: object) -> bool:
    """Whether a value is a block dict with ZenNAS's keys."""
    return isinstance(block, Mapping) and 'cls' in block


def parse_zen_structure(
    blocks: Sequence[Mapping], *, file: str | PathLike | None = None, record: str | None = None
) -> Structure:
    """Convert ZenNAS block dicts (``cls``, ``in``, ``out``, ``s``, ``btn``, ``sub_layers``) to a structure.

    The arguments and errors are those of :func:`~mmdet.archs.parsing.parse_structure`.
    """
    converted = []
    for index, block in enumerate(blocks):
        converted += _convert(block, block_place(file, record, index))
    return parse_structure(converted, file=file, record=record)


def _convert(block: Mapping, where: dict) -> list[dict]:
    """One ZenNAS block with the keys of LightNAS; a list, because a convolution may be repeated."""
    if not is_zen_block(block):
        raise DataError('a ZenNAS block needs the key cls; the two layouts cannot be mixed', received=block, **where)
    for key in block:
        if key not in _KEYS:
            raise DataError(f'unknown key; allowed are {list(_KEYS)}', field=key, received=block[key], **where)
    name, sub_layers = str(block['cls']), block.get('sub_layers', 1)
    if not is_int(sub_layers, 1) or sub_layers > LARGEST:
        raise DataError(f'must be an integer in 1..{LARGEST}', field='sub_layers', received=sub_layers, **where)
    common, out = {key: block[key] for key in ('in', 'out', 's') if key in block}, block.get('out')
    if match := _CONV.fullmatch(name):
        first = {'class': 'ConvKXBNRELU', 'k': int(match[1]), **common}
        return [first] + [{**first, 'in': out, 's': 1}] * (sub_layers - 1)
    btn = block.get('btn')
    if match := _BOTTLENECK.fullmatch(name):
        family = 'SuperResK1KXK1'
    elif (match := _BASIC.fullmatch(name)) and match[1] == match[2]:
        family = 'SuperResKXKX'
    elif match := _INVERTED.fullmatch(name):
        family = 'SuperResK1DWK1'
        btn = int(match['expansion']) * out if isinstance(out, int) else out
    else:
        allowed = 'SuperConvK*BNRELU, SuperResK1K*K1, SuperResK*K*, SuperResIDWE*K*'
        raise DataError(f'must be one of {allowed}', field='cls', received=block['cls'], **where)
    return [{'class': family, 'k': int(match['k']), **common, 'btn': btn, 'L': 2 * sub_layers}]
