"""Names for the types that signatures repeat; those of mmdetection 3.x, so that code written for it imports them here."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

ConfigType = ConfigDict | dict
OptConfigType = ConfigType | None
MultiConfig = ConfigType | list[ConfigType]
OptMultiConfig = MultiConfig | None

InstanceList = list[InstanceData]
OptInstanceList = InstanceList | None
PixelList = list[PixelData]
OptPixelList = PixelList | None

RangeType = Sequence[tuple[int, int]]
OptTensor = Tensor | None
