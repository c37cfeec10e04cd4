from .batch_augments import BatchFixedSizePad, BatchResize, BatchSyncRandomResize
from .data_preprocessor import DetDataPreprocessor

__all__ = ['BatchFixedSizePad', 'BatchResize', 'BatchSyncRandomResize', 'DetDataPreprocessor']
