from .single_level_roi_extractor import BaseRoIExtractor, SingleRoIExtractor

__all__ = ['BaseRoIExtractor', 'SingleRoIExtractor']
