from .nms import ScoredBoxes, filter_scores_and_topk, limit_survivors, merge_augmented, merge_views, multiclass_nms

__all__ = [
    'ScoredBoxes',
    'filter_scores_and_topk',
    'limit_survivors',
    'merge_augmented',
    'merge_views',
    'multiclass_nms',
]
