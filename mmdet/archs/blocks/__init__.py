from .base import (
    Bits,
    BlockFamily,
    Conv,
    Stage,
    Unit,
    conv_layers,
    families,
    family_of,
    is_3d,
    stages,
    unit_runs,
    units_of,
)
from .conv import Conv3DKXBNRELU, ConvKXBNRELU
from .depthwise import SuperQuantResK1DWK1, SuperRes3DK1DWK1, SuperResK1DWK1, SuperResK1DWSEK1
from .residual import SuperResK1KX, SuperResK1KXK1, SuperResKXKX

__all__ = [
    'Bits', 'BlockFamily', 'Conv', 'Conv3DKXBNRELU', 'ConvKXBNRELU', 'Stage', 'SuperQuantResK1DWK1', 'SuperRes3DK1DWK1', 'SuperResK1DWK1',
    'SuperResK1DWSEK1', 'SuperResK1KX', 'SuperResK1KXK1', 'SuperResKXKX', 'Unit', 'conv_layers', 'families', 'family_of', 'is_3d', 'stages',
    'unit_runs', 'units_of',
]  # fmt: skip
