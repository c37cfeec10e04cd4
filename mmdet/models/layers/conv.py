"""Building convolutions from configs."""

from typing import Any

from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn

import mmdet.ops  # noqa: F401  (registers DCN and DCNv2)
from mmdet.errors import ConfigError
from mmdet.registry import MODELS

# mmcv's registry names of plain convolutions, found here without importing mmcv.cnn.
_PLAIN = {None: nn.Conv2d, 'Conv2d': nn.Conv2d, 'Conv': nn.Conv2d}


def build_conv(cfg: dict | None, *args: Any, **kwargs: Any) -> nn.Module:
    """Build a convolution under any default scope (mmcv's own builder works only where ``mmdet`` is the default scope).

    Args:
        cfg: ``dict(type=..., **options)``, or None for ``nn.Conv2d``.
        args, kwargs: arguments of ``nn.Conv2d``.

    Raises:
        ConfigError: ``type`` is not registered.
    """
    options = dict(cfg or {})
    kind = options.pop('type', None)
    layer = kind if isinstance(kind, type) else _PLAIN.get(kind) or MODELS.get(kind) or MMENGINE_MODELS.get(kind)
    if layer is None:
        raise ConfigError('not a registered convolution', field='conv_cfg.type', received=kind)
    return layer(*args, **kwargs, **options)


def has_deform_conv(dcn: dict | None) -> tuple[dict | None, bool]:
    """Split the ``dcn`` config of a backbone's block.

    Returns:
        The config for :func:`build_conv`, without ``fallback_on_stride``, and whether the block's 3x3 convolution is deformable
        (``fallback_on_stride=True`` keeps it plain); ``(None, False)`` for None.
    """
    if dcn is None:
        return None, False
    options = dict(dcn)
    return options, not options.pop('fallback_on_stride', False)
