"""Block dicts of ZenNAS, read as the nearest families of this package.

ZenNAS counts depth in sub-layers of two residual units each; its inverted residual (IDWE) has ``expansion * btn`` hidden channels in both units
of a sub-layer, with ``btn`` channels between them.
"""

import re
from collections.abc import Mapping, Sequence

from ..utils.errors import DataError
from .structure import Structure, parse_structure

_CONV = re.compile(r'SuperConvK(\d+)BNRELU')
_BOTTLENECK = re.compile(r'SuperResK1K(\d+)K1')
_BASIC = re.compile(r'SuperResK(\d+)K(\d+)')
_INVERTED = re.compile(r'SuperResIDWE(\d+)K(\d+)')
_KEYS = ('cls', 'in', 'out', 's', 'sub_layers', 'btn')


def is_zen_block(block) -> bool:
    """Whether a block dict is in ZenNAS's layout."""
    return isinstance(block, Mapping) and 'cls' in block


def parse_zen_structure(blocks: Sequence[Mapping], *, file=None, record=None, squeeze: bool = False) -> Structure:
    """ZenNAS block dicts (``cls``, ``in``, ``out``, ``s``, ``btn``, ``sub_layers``) to a structure.

    Args:
        squeeze: whether its inverted residuals have squeeze-excitation.

    Raises:
        DataError: naming file, block index and key.
    """
    converted = []
    for index, block in enumerate(blocks):
        where = dict(file=file, record=f'{record}, block {index}' if record else f'block {index}')
        converted.extend(_convert(block, where, squeeze))
    return parse_structure(converted, file=file, record=record)


def _convert(block: Mapping, where: dict, squeeze: bool) -> list[dict]:
    """One ZenNAS block in the reference's keys; a list, because an inverted residual with btn != out alternates its channels."""
    if not is_zen_block(block):
        raise DataError('a ZenNAS block needs the key cls; the two layouts cannot be mixed', received=block, **where)
    for key in block:
        if key not in _KEYS:
            raise DataError(f'unknown key; allowed are {list(_KEYS)}', field=key, received=block[key], **where)
    name, sub_layers = block['cls'], block.get('sub_layers', 1)
    if not isinstance(sub_layers, int) or isinstance(sub_layers, bool) or sub_layers < 1:
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
        expansion, kernel = int(match[1]), int(match[2])
        if common['btn'] != block.get('out'):
            raise DataError('an inverted residual must have btn equal to out', field='btn', received=common['btn'], **where)
        common['btn'] = expansion * block['out']
        return [{'class': 'SuperResK1DWSEK1' if squeeze else 'SuperResK1DWK1', 'k': kernel, **common}]
    allowed = 'SuperConvK*BNRELU, SuperResK1K*K1, SuperResK*K*, SuperResIDWE*K*'
    raise DataError(f'must be one of {allowed}', field='cls', received=name, **where)
