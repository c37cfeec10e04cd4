"""Names of types that signatures repeat; the names are those of mmdetection 3.x, so that code written for it can import them here."""

from collections.abc import Sequence
from typing import TypeAlias

from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

ConfigType: TypeAlias = ConfigDict | dict
OptConfigType: TypeAlias = ConfigType | None
MultiConfig: TypeAlias = ConfigType | list[ConfigType]
OptMultiConfig: TypeAlias = MultiConfig | None

InstanceList = list[InstanceData]
OptInstanceList = InstanceList | None
PixelList = list[PixelData]
OptPixelList = PixelList | None

RangeType = Sequence[tuple[int, int]]
OptTensor = Tensor | None
