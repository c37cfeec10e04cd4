from mmdet.core.boxes import BaseBBoxCoder, DeltaXYWHBBoxCoder, DistancePointBBoxCoder, TBLRBBoxCoder, YOLOBBoxCoder

__all__ = ['BaseBBoxCoder', 'DeltaXYWHBBoxCoder', 'DistancePointBBoxCoder', 'TBLRBBoxCoder', 'YOLOBBoxCoder']
