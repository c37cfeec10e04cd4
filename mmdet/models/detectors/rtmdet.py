"""RTMDet (arXiv 2212.07784)."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import nn

from mmdet.registry import MODELS

from .single_stage import SingleStageDetector


@MODELS.register_module()
class RTMDet(SingleStageDetector):
    """Single-stage detector that trains with batch norms over all processes.

    Args:
        args, kwargs: arguments of :class:`SingleStageDetector`.
        use_syncbn: replace batch norms by ``SyncBatchNorm`` where there is more than one process. In one process, hence on a CPU as well,
            a ``SyncBatchNorm`` is a batch norm; in several processes without a GPU the runner turns it back into one.
    """

    def __init__(self, *args: Any, use_syncbn: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if use_syncbn and get_world_size() > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self)
            print_log('batch norms use the statistics of all processes', logger='current')
