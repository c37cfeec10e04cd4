from .res2net import Res2Net
from .resnet import ResNet, ResNetV1d
from .resnext import ResNeXt
from .vit import WindowedViT
from .vit_adapter import ViTAdapter

__all__ = ['Res2Net', 'ResNeXt', 'ResNet', 'ResNetV1d', 'ViTAdapter', 'WindowedViT']
