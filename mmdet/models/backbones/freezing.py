"""Freezing the first stages of a backbone."""

from typing import TypeVar

from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_Self = TypeVar('_Self', bound='FreezableBackbone')


class FreezableBackbone(BaseModule):
    """Base of backbones whose first stages can be frozen. Subclasses return the modules to freeze from ``_frozen_modules``.

    Attributes:
        norm_eval: keep every batch norm in eval mode (its statistics fixed).
    """

    norm_eval: bool

    def _frozen_modules(self) -> list[nn.Module]:
        raise NotImplementedError

    def _freeze_stages(self) -> None:
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)

    def train(self: _Self, mode: bool = True) -> _Self:
        """Switch to training mode, leaving frozen stages (and with ``norm_eval`` every batch norm) in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
