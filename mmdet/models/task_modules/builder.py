"""The registries and build functions of mmdetection 2.x, which 3.x still has: all of them are ``TASK_UTILS``."""

from typing import Any

from mmdet.registry import TASK_UTILS

ANCHOR_GENERATORS = BBOX_ASSIGNERS = BBOX_CODERS = BBOX_SAMPLERS = IOU_CALCULATORS = MATCH_COSTS = PRIOR_GENERATORS = (
    TASK_UTILS
)


def build_task_util(cfg: dict, **default_args: Any) -> Any:
    """What a config describes; ``default_args`` are arguments that it may leave out."""
    return TASK_UTILS.build(cfg, default_args=default_args)


build_anchor_generator = build_assigner = build_bbox_coder = build_iou_calculator = build_task_util
build_match_cost = build_prior_generator = build_sampler = build_task_util
