"""Backbones for clips from searched structures (E3D, arXiv 2303.02693)."""

from mmdet.registry import MODELS

from .tinynas import TinyNASBackbone


@MODELS.register_module()
class TinyNAS3DBackbone(TinyNASBackbone):
    """Backbone for clips: (N, C, T, H, W) to (N, C_j, T, H / stride_j, W / stride_j), sizes rounded up, for each of ``out_indices``.

    Arguments, attributes and errors are those of :class:`TinyNASBackbone`; the structure consists of ``Conv3DKXBNRELU`` and ``SuperRes3DK1DWK1``.
    """

    dims = 3
