from .nms import filter_scores_and_topk, merge_augmented, multiclass_nms

__all__ = ['filter_scores_and_topk', 'merge_augmented', 'multiclass_nms']
