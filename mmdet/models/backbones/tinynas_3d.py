"""Networks for clips from searched structures (Maximizing Spatio-Temporal Entropy, E3D; arXiv 2303.02693)."""

from torch import Tensor

from mmdet.registry import MODELS

from .tinynas import TinyNASBackbone


@MODELS.register_module()
class TinyNAS3DBackbone(TinyNASBackbone):
    """A 3-D structure as a network: the clip's length stays, height and width shrink by the stage's stride.

    Args, attributes and errors are those of :class:`TinyNASBackbone`; the structure consists of ``Conv3DKXBNRELU`` and ``SuperRes3DK1DWK1``.
    """

    dims = 3

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, T, H, W) to one (N, C_j, T, H / stride_j, W / stride_j), sizes rounded up, for each of `out_indices`."""
        return super().forward(x)
