from .base import Space, round_to_8
from .dense import SpaceK1KX, SpaceK1KXK1, SpaceKXKX
from .depthwise import Space3DK1DWK1, SpaceK1DWK1, SpaceK1DWSEK1, SpaceQuantK1DWK1

__all__ = [
    'Space', 'Space3DK1DWK1', 'SpaceK1DWK1', 'SpaceK1DWSEK1', 'SpaceK1KX', 'SpaceK1KXK1', 'SpaceKXKX', 'SpaceQuantK1DWK1',
    'round_to_8',
]  # fmt: skip
