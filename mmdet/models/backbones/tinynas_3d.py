"""Backbones for clips from searched structures (E3D, arXiv 2303.02693)."""

from torch import Tensor

from mmdet.registry import MODELS

from .tinynas import TinyNASBackbone


@MODELS.register_module()
class TinyNAS3DBackbone(TinyNASBackbone):
    """Backbone for clips: the number of frames stays, height and width are divided by the stage's stride.

    Arguments, attributes and errors are those of :class:`TinyNASBackbone`; the structure consists of ``Conv3DKXBNRELU`` and ``SuperRes3DK1DWK1``.
    """

    dims = 3

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, T, H, W) to a tuple of (N, C_j, T, H / stride_j, W / stride_j), sizes rounded up, one for each of `out_indices`."""
        return super().forward(x)
