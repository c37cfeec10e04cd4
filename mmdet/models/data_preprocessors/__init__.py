from .batch_augments import BatchBucketPad, BatchFixedSizePad, BatchResize, BatchSyncRandomResize
from .data_preprocessor import DetDataPreprocessor

__all__ = ['BatchBucketPad', 'BatchFixedSizePad', 'BatchResize', 'BatchSyncRandomResize', 'DetDataPreprocessor']
