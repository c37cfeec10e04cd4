from .csp_darknet import CSPDarknet
from .cspnext import CSPNeXt
from .darknet import Darknet
from .hrnet import HRNet
from .regnet import RegNet
from .res2net import Res2Net
from .resnet import ResNet, ResNetV1d
from .resnext import ResNeXt
from .ssd_vgg import SSDVGG
from .swin import SwinTransformer
from .tinynas import DAMOYOLOBackbone, TinyNASBackbone
from .tinynas_3d import TinyNAS3DBackbone
from .vit import WindowedViT
from .vit_adapter import ViTAdapter

__all__ = [
    'CSPDarknet', 'CSPNeXt', 'DAMOYOLOBackbone', 'Darknet', 'HRNet', 'RegNet', 'Res2Net', 'ResNeXt', 'ResNet', 'ResNetV1d', 'SSDVGG',
    'SwinTransformer', 'TinyNAS3DBackbone', 'TinyNASBackbone', 'ViTAdapter', 'WindowedViT',
]  # fmt: skip
