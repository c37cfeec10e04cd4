from mmdet.core.boxes import BaseBBoxCoder, DeltaXYWHBBoxCoder, DistancePointBBoxCoder, TBLRBBoxCoder

__all__ = ['BaseBBoxCoder', 'DeltaXYWHBBoxCoder', 'DistancePointBBoxCoder', 'TBLRBBoxCoder']
