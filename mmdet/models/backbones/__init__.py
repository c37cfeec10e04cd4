from .csp_darknet import CSPDarknet
from .cspnext import CSPNeXt
from .custom_csp_net import CustomCspNet
from .darknet import Darknet
from .efficientnet_lite import EfficientNetLite
from .hrnet import HRNet
from .regnet import RegNet
from .repvgg import RepVGG
from .res2net import Res2Net
from .resnet import ResNet, ResNetV1d
from .resnext import ResNeXt
from .shufflenet_v2 import ShuffleNetV2
from .ssd_vgg import SSDVGG
from .swin import SwinTransformer
from .tinynas import DAMOYOLOBackbone, TinyNASBackbone
from .tinynas_3d import TinyNAS3DBackbone
from .transformers_backbone import TransformersBackbone
from .vit import WindowedViT
from .vit_adapter import ViTAdapter

__all__ = [
    'CSPDarknet', 'CSPNeXt', 'CustomCspNet', 'DAMOYOLOBackbone', 'Darknet', 'EfficientNetLite', 'HRNet', 'RegNet', 'RepVGG', 'Res2Net', 'ResNeXt',
    'ResNet', 'ResNetV1d', 'SSDVGG', 'ShuffleNetV2', 'SwinTransformer', 'TinyNAS3DBackbone', 'TinyNASBackbone', 'TransformersBackbone', 'ViTAdapter', 'WindowedViT',
]  # fmt: skip
