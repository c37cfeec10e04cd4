"""Stand-ins for what the network's code uses of mmcv, mmengine and the registry inside the toolbox. Exported as ``compat.py``."""

from collections.abc import Callable

import torch.distributed as dist
from torch import Tensor, nn

_NORMS = {'BN': nn.BatchNorm2d, 'BN3d': nn.BatchNorm3d}


class Registry:
    """Classes by name."""

    def __init__(self) -> None:
        self.module_dict: dict[str, type] = {}

    def register_module(self, name: str | None = None, force: bool = True) -> Callable[[type], type]:
        """Decorator that registers a class under ``name``, by default its own name."""

        def keep(cls: type) -> type:
            self.module_dict[name or cls.__name__] = cls
            return cls

        return keep

    def get(self, name: str) -> type | None:
        """The class of that name, or None."""
        return self.module_dict.get(name)


NAS_BLOCKS = Registry()


def build_norm_layer(cfg: dict, num_features: int) -> tuple[str, nn.Module]:
    """Name and layer of a batch norm; other norms are not exported."""
    return 'bn', _NORMS[cfg['type']](num_features)


def get_world_size() -> int:
    """Number of training processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce(data: Tensor, op: str = 'mean') -> None:
    """Average a tensor over the training processes, in place."""
    assert op == 'mean', op
    if get_world_size() > 1:
        dist.all_reduce(data)
        data /= get_world_size()
