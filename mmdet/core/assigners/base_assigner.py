"""What an assigner is."""

from abc import ABCMeta, abstractmethod
from typing import Any

from mmengine.structures import InstanceData

from .assign_result import AssignResult


class BaseAssigner(metaclass=ABCMeta):
    """Assigns the priors of one image to its ground-truth boxes."""

    @abstractmethod
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign ``pred_instances.priors`` (P, 4) to ``gt_instances.bboxes`` (G, 4) and ``labels`` (G,)."""
