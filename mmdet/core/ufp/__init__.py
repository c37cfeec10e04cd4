"""Unified foreground packing, of :mod:`mmdet_runtime.ufp`: the runtime without torch packs by the same code."""

from mmdet_runtime.ufp import *  # noqa: F403
from mmdet_runtime.ufp import __all__ as __all__
